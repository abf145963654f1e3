// What the small plugin reads of Wix's calls (contract 4.2, 5.2, 6.1, 7).

export interface Asked {
  /** Of no version of the contract. */
  readonly addedByWixLater?: object;
  readonly credentials?: Record<string, string>;
  readonly wixMerchantId?: string;
  readonly currency?: string;
  readonly mode?: string;
  readonly wixTransactionId?: string;
  readonly wixRefundId?: string;
  readonly merchantCredentials?: Record<string, string>;
  readonly order?: {
    readonly id?: string;
    readonly description?: Description;
    readonly returnUrls?: Readonly<Record<string, string | null>>;
  } | null;
  readonly paymentMethod?: string | null;
  readonly paymentMethodData?: Data | null;
  readonly authorizeOnly?: boolean | null;
  readonly moto?: boolean | null;
  readonly offSession?: boolean | null;
  readonly installments?: number | null;
  readonly setupCredentialsOnFile?: { readonly offSession?: boolean } | null;
  readonly refundAmount?: unknown;
  readonly captureAmount?: unknown;
  readonly voidAmount?: unknown;
}

interface Description {
  readonly totalAmount?: unknown;
  readonly currency?: string;
  readonly billingAddress?: object | null;
}

interface Data {
  readonly card?: { readonly number?: string; readonly networkTransactionId?: string };
  readonly reference?: { readonly token?: string };
  readonly googlePay?: { readonly pan: string };
  readonly applePay?: { readonly pan: string };
}

/** Whole numbers beyond 2^53 as bigints, others as numbers. */
export function parseAsked(text: string): Asked {
  const withSource = JSON.parse as (
    text: string,
    reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
  ) => unknown;
  return withSource(text, (_, value, { source = '' }) =>
    typeof value === 'number' && /^\d{16,}$/.test(source) ? BigInt(source) : value,
  ) as Asked;
}

export async function readAll(request: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}
