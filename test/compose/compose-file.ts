import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';

// docker-compose.yml and Dockerfile, read as far as the specs need them.

export const ROOT = path.join(import.meta.dirname, '../..');

export interface ComposeService {
  readonly build?: { readonly target: string };
  readonly image?: string;
  readonly user?: string;
  readonly init?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
  readonly ports?: readonly string[];
  readonly networks: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly read_only?: boolean;
  readonly privileged?: boolean;
  readonly cap_drop?: readonly string[];
  readonly cap_add?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly stop_grace_period?: string;
  readonly ulimits?: { readonly core: number };
  readonly mem_limit?: string;
  readonly pids_limit?: number;
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>;
}

export function readCompose(): ComposeFile {
  return parse(readFileSync(path.join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true });
}

export interface Stage {
  readonly name: string;
  readonly from: string;
  /** Its own instructions, without what it builds upon. */
  readonly instructions: readonly { readonly word: string; readonly rest: string }[];
}

/** The stages of the Dockerfile, with continued lines joined. */
export function readStages(): Stage[] {
  const lines = readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n');
  const stages: { name: string; from: string; instructions: { word: string; rest: string }[] }[] = [];
  for (const line of lines.filter((text) => text !== '' && !text.startsWith('#'))) {
    const [, word = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    const [, from = '', name = ''] = /^(\S+) AS (\S+)$/.exec(rest) ?? [];
    if (word === 'FROM') stages.push({ name, from, instructions: [] });
    else stages.at(-1)?.instructions.push({ word, rest });
  }
  return stages;
}

/** All instructions of a target, from its base image on. */
export function instructionsOf(target: string): Stage['instructions'] {
  const stage = readStages().find(({ name }) => name === target);
  return stage ? [...instructionsOf(stage.from), ...stage.instructions] : [];
}

/** The last of its kind, in exec form. */
export function execForm(target: string, word: 'CMD' | 'HEALTHCHECK'): string[] {
  const rest = instructionsOf(target).findLast((instruction) => instruction.word === word)?.rest ?? '';
  return JSON.parse(/\[.*\]$/.exec(rest)?.[0] ?? '[]');
}
