import { isObject } from './json.ts';

// A small language for the shape of a message: what is wrong with a value, each problem a line that begins with its path.

export type Rule = (value: unknown, path: string) => string[];

const OPTIONAL = Symbol('optional');
type Field = Rule | { readonly [OPTIONAL]: Rule };

export function optional(rule: Rule): Field {
  return { [OPTIONAL]: rule };
}

/** Exactly these members: none beside them, and none of them null. */
export function shape(fields: Readonly<Record<string, Field>>): Rule {
  return (value, path) => {
    if (!isObject(value)) return [`${path} is not an object`];
    const strangers = Object.keys(value)
      .filter((name) => !(name in fields))
      .map((name) => `${path}.${name} is not part of the contract`);
    const problems = Object.entries(fields).flatMap(([name, field]) => {
      const rule = typeof field === 'function' ? field : field[OPTIONAL];
      const member = value[name];
      if (member !== undefined) return rule(member, `${path}.${name}`);
      return typeof field === 'function' ? [`${path}.${name} is missing`] : [];
    });
    return [...strangers, ...problems];
  };
}

/** Exactly one of these members. */
export function oneOf(names: readonly string[]): Rule {
  return (value, path) => {
    const present = names.filter((name) => isObject(value) && value[name] !== undefined);
    return present.length === 1 ? [] : [`${path} has ${present.length} of ${names.join(', ')} instead of one`];
  };
}

export function all(...rules: Rule[]): Rule {
  return (value, path) => rules.flatMap((rule) => rule(value, path));
}

export function test(says: string, holds: (value: unknown) => boolean): Rule {
  return (value, path) => (holds(value) ? [] : [`${path} ${says}`]);
}

export function text(min: number, max: number): Rule {
  return test(`is not a text of ${min}..${max} characters`, (value) =>
    typeof value === 'string' && value.length >= min && value.length <= max);
}

export function matching(pattern: RegExp, says: string): Rule {
  return test(says, (value) => typeof value === 'string' && pattern.test(value));
}

/** Minor units as Wix wants them in events. */
export const digits = matching(/^(0|[1-9]\d*)$/, 'is not a string of digits');

export const guid = matching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, 'is not a GUID');

/** Plain http is for an engine on this machine. */
export const httpsUrl = test('is not an absolute https URL', (value) => {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  return url?.protocol === 'https:' || (url?.protocol === 'http:' && url.hostname === '127.0.0.1');
});

export const stringMap = test('is not an object of strings', (value) =>
  isObject(value) && Object.values(value).every((member) => typeof member === 'string'));
