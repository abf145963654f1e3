import { createHash, timingSafeEqual } from 'node:crypto';
import { Code, type ContextKey, createContextKey, type Interceptor } from '@connectrpc/connect';
import type { z } from 'zod';
import { checkedToken, type Secret, secretBy } from './config.ts';
import type { Log } from './log.ts';
import { counter } from './metrics.ts';
import { rpcError } from './rpc.ts';

// The doors of the gRPC services: who calls, and what that caller may call (R33).

const ROLES = ['gateway', 'engine', 'backoffice', 'reader', 'operator'] as const;

export type Role = (typeof ROLES)[number];

export interface Caller {
  readonly name: string;
  readonly role: Role;
}

/** Its secrets are nowhere on the object, so that nothing can print them. */
export interface Callers {
  readonly list: readonly Caller[];
  /** Compares hashes with every known token, so that the time taken says nothing. */
  identify(token: string): Caller | undefined;
}

/**
 * Reads `name:role:secret[,name:role:secret]`. A name may stand there twice with one role, so that its secret can be rotated. Throws an Error that
 * names the rule and quotes nothing.
 */
export function createCallers(text: string): Callers {
  const entries = text.split(',').map((entry) => {
    const [, name, named, secret = ''] = /^([\w-]{1,64}):(\w+):(.+)$/.exec(entry.trim()) ?? [];
    const role = ROLES.find((known) => known === named);
    if (!name || !role) throw new Error(`must be name:role:secret[,...], with a role of ${ROLES.join(', ')}`);
    return { caller: { name, role }, hash: sha256(checkedToken(secret)) };
  });
  if (new Set(entries.map(({ hash }) => hash.toString('hex'))).size < entries.length)
    throw new Error('has the same secret twice');
  const roles = new Map(entries.map(({ caller }) => [caller.name, caller.role]));
  if (entries.some(({ caller }) => roles.get(caller.name) !== caller.role))
    throw new Error('has one name with two roles');
  return {
    list: entries.map(({ caller }) => caller),
    identify(token) {
      const hash = sha256(token);
      return entries.filter((entry) => timingSafeEqual(entry.hash, hash))[0]?.caller;
    },
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Who may call, as `name:role:secret[,name:role:secret]`, from the environment (R33). */
export const callerList = (): z.ZodType<Callers> => secretBy(createCallers);

/** The caller of a running call: `context.values.get(callerKey)` in a handler. */
export const callerKey: ContextKey<Caller> = createContextKey<Caller>({ name: 'nobody', role: 'reader' });

/** Who it is that calls a method with this `authorization` header; throws a ConnectError for who may not. */
export type Authorizer = (method: string, authorization: string | null | undefined) => Caller;

/**
 * Lets a call in whose `authorization: Bearer <token>` belongs to a caller of a role that the method allows. `allowed` has the methods'
 * proto names; a method that is not in it is closed to all. Errors: UNAUTHENTICATED, PERMISSION_DENIED.
 */
export function createAuthorizer(
  callers: Callers,
  allowed: Readonly<Record<string, readonly Role[]>>,
  log: Log,
): Authorizer {
  const refusals = counter('rpc_refusals_total', 'Calls refused at the door.', ['method', 'caller', 'reason']);
  return (method, authorization) => {
    const token = /^Bearer (.+)$/.exec(authorization ?? '')?.[1];
    const caller = token === undefined ? undefined : callers.identify(token);
    const refuse = (code: Code, reason: string, message: string) => {
      refusals.inc({ method, caller: caller?.name ?? '', reason });
      log.warn('door.refused', { method, caller: caller?.name, reason });
      return rpcError(code, reason, message);
    };
    if (!caller) throw refuse(Code.Unauthenticated, 'TOKEN_INVALID', 'a valid bearer token is required');
    if (!allowed[method]?.includes(caller.role))
      throw refuse(Code.PermissionDenied, 'ROLE_NOT_ALLOWED', 'this caller may not call this method');
    return caller;
  };
}

/** Server side: a door where the call is already there. A carrier that is given the door itself refuses before it reads a message. */
export function requireToken(...who: Parameters<typeof createAuthorizer>): Interceptor {
  return authorizeBy(createAuthorizer(...who));
}

export const authorizeBy =
  (authorizer: Authorizer): Interceptor =>
  (next) =>
  (request) =>
    actAs(authorizer(request.method.name, request.header.get('authorization')))(next)(request);

/** Within one process there is no door: every call is this caller's. */
export function actAs(caller: Caller): Interceptor {
  return (next) => (request) => {
    request.contextValues.set(callerKey, caller);
    return next(request);
  };
}

/** Client side: sends the token with every call. */
export function withToken(token: Secret): Interceptor {
  return (next) => (request) => {
    request.header.set('authorization', `Bearer ${token.reveal()}`);
    return next(request);
  };
}
