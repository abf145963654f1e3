/**
 * The blocks of a PEM text. Newlines may be written as \n or \r\n, as some stores of secrets do. Throws an Error that quotes nothing if
 * something is left beside the blocks that looks like a part of one: what is damaged must not be passed over.
 */
export function readPem(text: string): string[] {
  const pem = text.replaceAll('\\r', '').replaceAll('\\n', '\n');
  const beside = pem.replaceAll(BLOCK, '');
  if (/---|BEGIN|END|[A-Za-z0-9+/]{40}/.test(beside))
    throw new Error('must hold blocks of PEM that are whole; one is damaged');
  return pem.match(BLOCK) ?? [];
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g;
