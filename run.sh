#!/bin/sh
# Runs a program of this repository in place of the shell that npm starts, so that it hears SIGTERM and Ctrl-C itself:
#   exec sh run.sh [flag of node ...] FILE [argument ...]
version=$(node --version 2>/dev/null) || version='one that does not run here'
case $version in
# By default a heap that has room grows to four times what lives in it: twice that is as fast, in two thirds of the memory.
v24.*) heap='--max-semi-space-size=32 --heap-growing-percent=100' ;;
v2[5-9].* | v[3-9][0-9].*) heap= ;;
*)
  echo "This needs Node 24 or newer, and node is $version: npm ci --include=optional brings it on Linux (x64, arm64); elsewhere install it." >&2
  exit 1
  ;;
esac
# Node would say that there is none.
if [ "$1" = --env-file-if-exists=.env ] && [ ! -e .env ]; then shift; fi
# Memory holds card numbers: no file of it after a crash, and no debugger at a signal.
ulimit -c 0
exec node --disable-sigusr1 $heap "$@"
