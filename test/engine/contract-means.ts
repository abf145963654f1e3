import { z } from 'zod';

// What an engine must provide before it can be held to its port: an account, and cards that make it do the rare things.

const card = z
  .union([
    z.string().transform((number) => ({ number })),
    z.strictObject({
      number: z.string(),
      expiryMonth: z.number().int().min(1).max(12).optional(),
      expiryYear: z.number().int().min(2000).max(2099).optional(),
      cvv: z.string().optional(),
      holderName: z.string().optional(),
    }),
  ])
  .refine(({ number }) => /^\d{12,19}$/.test(number), 'must be 12..19 digits');

/** What each card makes the engine do. Only `approved` is necessary; what needs another one is skipped without it. */
const cards = z.strictObject({
  /** Approves everything, captures and refunds too. */
  approved: card,
  declined: card.optional(),
  /** Pending first; decided by itself within `lateMs`. */
  pendingThenApproved: card.optional(),
  pendingThenDeclined: card.optional(),
  /** Approves, but gives no answer to Authorize: the caller's deadline passes. */
  answerLost: card.optional(),
  /** Neither does anything nor answers. */
  callLost: card.optional(),
  /** Approves; captures of the payment are declined. */
  captureDeclined: card.optional(),
  /** Approves; refunds of the payment are declined. */
  refundDeclined: card.optional(),
  /** Asks for the buyer on a page. */
  buyerAction: card.optional(),
});

const milliseconds = z.number().int().min(1).max(600_000);
const credentials = z.record(z.string(), z.string());

export const meansSchema = z.strictObject({
  cards,
  /** Of a test merchant, as typed into Wix. */
  credentials: credentials.default({ apiKey: 'test' }),
  wrongCredentials: credentials.optional(),
  country: z.string().length(2).default('PT'),
  /** The account's own, and two whose minor unit is not a hundredth. */
  currency: z.string().length(3).default('EUR'),
  otherCurrencies: z.array(z.string().length(3)).min(1).default(['JPY', 'KWD']),
  /** Every call must be answered within: the core's answer budget. */
  deadlineMs: milliseconds.default(8_000),
  /** Pending payments decide themselves within. */
  lateMs: milliseconds.default(15_000),
  /** How long to wait for an answer that never comes. */
  silenceMs: milliseconds.default(2_000),
});

export type Means = z.infer<typeof meansSchema>;
export type CardName = keyof Means['cards'];

/** The simulated engine's own. */
export const SIMULATED_MEANS: Means = meansSchema.parse({
  cards: {
    approved: '4242424242424242',
    declined: '4000000000000002',
    pendingThenApproved: '4000000000009235',
    pendingThenDeclined: '4000000000004954',
    answerLost: '4000000000000119',
    callLost: '4000000000000259',
    captureDeclined: '4000000000000341',
    refundDeclined: '4000000000005126',
    buyerAction: '4000000000003220',
  },
  wrongCredentials: { apiKey: 'invalid' },
});
