import { randomBytes } from 'node:crypto';

// Values that occur nowhere else, and a search for them in whatever form they may have been written.

const mark = randomBytes(6).toString('hex');

/** What must be found nowhere, by name. Numbers are valid card numbers that no sample uses. */
export const CANARIES = {
  'card number': '4556737586899855',
  'card number of a wallet': '5200828282828210',
  'card number that is no number': `CANARY${mark}4917484589897107`,
  'security code that is none': `cvv-${mark}`,
  'holder name': `Zelda ${mark} Canary`,
  cryptogram: Buffer.from(`cryptogram ${mark}`).toString('base64'),
  'api key': `key-${mark}`,
  'refused credential': `refused-${mark}`,
  'malformed credential': `malformed-${mark}`,
  'token on file': `tok-${mark}`,
  street: `Canary Road ${mark}`,
  email: `${mark}@canary.example`,
  'address of the buyer': '198.51.100.213',
};

/** Of three or four digits, so that it is looked for only where nothing stands beside it. */
export const SECURITY_CODE = '9173';

/** Names of those that the haystack holds, as text, as hex or as base64, with how they are written. */
export function findCanaries(haystack: Buffer | string, canaries: Readonly<Record<string, string | Buffer>>): string[] {
  const bytes = Buffer.from(haystack as string);
  return Object.entries(canaries).flatMap(([name, value]) =>
    Object.entries(formsOf(value)).flatMap(([form, needle]) => (bytes.includes(needle) ? [`${name} as ${form}`] : [])),
  );
}

/** Every way in which a value may have been written. */
export function formsOf(value: string | Buffer): Record<string, Buffer | string> {
  const bytes = Buffer.from(value as string);
  const grouped = /^\d{16}$/.test(String(value)) ? (String(value).match(/\d{4}/g) ?? []) : [];
  return {
    text: bytes,
    hex: bytes.toString('hex'),
    HEX: bytes.toString('hex').toUpperCase(),
    ...Object.fromEntries([0, 1, 2].map((shift) => [`base64 ${shift}`, base64Within(bytes, shift)])),
    ...(grouped.length > 0 && { 'groups with spaces': grouped.join(' '), 'groups with dashes': grouped.join('-') }),
  };
}

/** The part of a base64 text that is the same whatever stands around these bytes, `shift` bytes after a multiple of three. */
function base64Within(bytes: Buffer, shift: number): string {
  const text = Buffer.concat([Buffer.alloc(shift), bytes])
    .toString('base64')
    .replace(/=+$/, '');
  const from = [0, 2, 3][shift] ?? 0;
  return text.slice(from, from + Math.floor(((bytes.length - ((3 - shift) % 3)) * 8) / 6) - 1);
}

/** Whether a text says the security code by itself, and not as a part of an id, a time or a longer number. */
export function saysSecurityCode(text: string): boolean {
  return new RegExp(`(?<![\\w.-])${SECURITY_CODE}(?![\\w.-])`).test(text);
}

/** How a message of the protocol, or JSON, would hold the security code. */
export const SECURITY_CODE_FIELDS = {
  'security code in protobuf': Buffer.concat([Buffer.from([0x22, SECURITY_CODE.length]), Buffer.from(SECURITY_CODE)]),
  'security code in JSON': `"cvv":"${SECURITY_CODE}"`,
};
