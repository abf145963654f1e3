import type { Bug } from './bugs.ts';
import type { Message } from './small-teller.ts';

// The page of the small plugin, and what a button of it means (contract 12.5).

export const BUTTONS = {
  approve: 'Pay now',
  decline: "Bank says 'no' & more",
  cancel: 'Cancel',
  later: 'Decide later',
};

type ReturnUrls = Readonly<Record<string, string | null | undefined>>;

/** What becomes of the payment, and where the browser goes. */
export interface Ending {
  readonly state: 'approved' | 'declined' | 'pending';
  readonly error: Message;
  readonly location: string;
}

export function pageOf(id: string): string {
  const buttons = Object.entries(BUTTONS)
    .filter(([name]) => name !== 'cancel')
    .map(([name, text]) => `<button name="outcome" value="${name}">${text.replaceAll('&', '&amp;')}</button>`);
  return `<!doctype html><title>Pay</title><form method="post" action="/page/${id}">
<input type="hidden" name="csrf" value="1"><input type="checkbox" name="news" value="yes">${buttons.join('\n')}</form>
<a class="quiet" href="/page/${id}?outcome=cancel">${BUTTONS.cancel}</a>`;
}

export function endingOf(
  outcome: string,
  { urls, isChallenge, has }: { urls: ReturnUrls; isChallenge: boolean; has: (bug: Bug) => boolean },
): Ending {
  const { successUrl, errorUrl, cancelUrl, pendingUrl } = urls;
  const failed = isChallenge && !has('fails challenges as banks do') ? 3004 : 3000;
  const canceled = has('takes a cancel for a decline') ? 3000 : 3030;
  const error = (reasonCode: number) => ({ reasonCode, errorCode: 'SMALL', errorMessage: 'At the page' });
  const elsewhere = (url: string | null | undefined, fallback: unknown) =>
    has('needs every return URL') ? String(url) : String(url ?? fallback);
  const endings: Record<string, Ending> = {
    approve: { state: 'approved', error: {}, location: String(successUrl) },
    decline: { state: 'declined', error: error(failed), location: String(errorUrl) },
    cancel: { state: 'declined', error: error(canceled), location: elsewhere(cancelUrl, errorUrl) },
    later: { state: 'pending', error: { reasonCode: 5009 }, location: elsewhere(pendingUrl, successUrl) },
  };
  const ending = endings[outcome] ?? { state: 'declined', error: error(3000), location: String(errorUrl) };
  return has('thanks everybody') ? { ...ending, location: String(successUrl) } : ending;
}
