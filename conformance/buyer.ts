// A buyer without a browser: reads a page, presses a button or follows a link of it, and goes where the answers send it. Pages that are
// plain HTML can be used like that; what needs scripts cannot.

/** Where the buyer ended: the first address for which `isEnd` holds, or the last one that was reached. */
export interface Visit {
  readonly url: string;
  readonly html: string;
}

export type Go = (url: string, form?: { readonly method: string; readonly fields: URLSearchParams }) => Promise<Visit>;

const REDIRECTS_MAX = 20;
const PAGE_MAX_CHARACTERS = 100_000;

/** A buyer with cookies of its own. */
export function createBuyer(isEnd: (url: string) => boolean, timeoutMs: number): Go {
  const cookies = new Map<string, string>();
  return async (start, form) => {
    let url = start;
    let next = form;
    for (let hops = 0; hops < REDIRECTS_MAX && !isEnd(url); hops++) {
      const isPost = next?.method === 'post';
      const target = next && !isPost ? `${url.split('?')[0]}?${next.fields}` : url;
      const response = await fetch(target, {
        ...{ redirect: 'manual', signal: AbortSignal.timeout(timeoutMs), method: isPost ? 'POST' : 'GET' },
        headers: { Accept: 'text/html', Cookie: [...cookies].map((pair) => pair.join('=')).join('; ') },
        ...(isPost && next && { body: next.fields }),
      });
      for (const cookie of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=;]+)=([^;]*)/.exec(cookie) ?? [];
        cookies.set(name, value);
      }
      const location = response.headers.get('location');
      if (location === null) return { url, html: (await response.text()).slice(0, PAGE_MAX_CHARACTERS) };
      await response.body?.cancel();
      url = new URL(location, url).href;
      // Every redirect but 307 and 308 goes on with GET.
      if (response.status !== 307 && response.status !== 308) next = undefined;
    }
    return { url, html: '' };
  };
}

/** Presses what bears this text: a button, or a link. Undefined if nothing does. */
export function press(go: Go, { url, html }: Visit, label: string): Promise<Visit> | undefined {
  const isMeant = (text: string) => plain(text).toLowerCase() === label.trim().toLowerCase();
  for (const [, formTag = '', inside = ''] of html.matchAll(/<form\b([^<>]*)>([\s\S]*?)<\/form>/gi)) {
    const buttons = [
      ...inside.matchAll(/<button\b([^<>]*)>([\s\S]*?)<\/button>|<input\b([^<>]*\btype="?submit\b[^>]*)>/gi),
    ];
    const button = buttons.find(([, , text, input]) =>
      isMeant(input === undefined ? (text ?? '') : attributeOf(input, 'value')),
    );
    if (!button) continue;
    const tag = button[1] ?? button[3] ?? '';
    const fields = fieldsOf(inside);
    if (attributeOf(tag, 'name')) fields.append(attributeOf(tag, 'name'), attributeOf(tag, 'value'));
    const action = attributeOf(tag, 'formaction') || attributeOf(formTag, 'action') || url;
    const method = (attributeOf(tag, 'formmethod') || attributeOf(formTag, 'method') || 'get').toLowerCase();
    return go(new URL(action, url).href, { method, fields });
  }
  const link = [...html.matchAll(/<a\b([^<>]*)>([\s\S]*?)<\/a>/gi)].find(([, , text]) => isMeant(text ?? ''));
  return link && go(new URL(attributeOf(link[1] ?? '', 'href'), url).href);
}

function fieldsOf(inside: string): URLSearchParams {
  const inputs = [...inside.matchAll(/<input\b([^<>]*)>/gi)].map(([, tag = '']) => tag);
  const sent = inputs.filter(
    (tag) => attributeOf(tag, 'name') && !/\btype="?(submit|button|image|checkbox|radio)\b/i.test(tag),
  );
  return new URLSearchParams(
    sent.map((tag): [string, string] => [attributeOf(tag, 'name'), attributeOf(tag, 'value')]),
  );
}

function attributeOf(tag: string, name: string): string {
  const found = new RegExp(`(?:^|\\s)${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>]+))`, 'i').exec(tag);
  return plain(found?.[1] ?? found?.[2] ?? found?.[3] ?? '');
}

function plain(html: string): string {
  return html
    .replaceAll(/<[^<>]*>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&')
    .trim();
}
