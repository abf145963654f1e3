// The tables of the contract, written out once more: the kit holds others to them, so it takes them from nobody (contract 11, 13).

const codes = (text: string) => new Set(text.trim().split(/\s+/).map(Number));

/** May stand in any answer; 6000 only with both texts. */
export const GENERAL = codes('1002 1003 1004 1005 1006 1007 1009 1010 1012 1013 6000');
export const CONNECTION = codes('2000 2001 2002 2007 2008 2009');
export const PENDING = codes('5005 5009');
export const DECLINE = codes(`
  3000 3001 3002 3003 3004 3006 3008 3011 3012 3013 3014 3015 3016 3017 3018 3019 3020 3026 3028 3029 3030 3031 3034 3035 3036 3037
  3040 3041 3042 3043 3044 3045 3046 4000 4001 4002 4003 4004 5000 5001 5002 5003 5006 5007 6000`);
export const REFUND_DECLINE = codes('3022 3023 3024 3025 3032 3033');
/** Not to be sent any more, with the codes that newer ones replaced. */
export const LEGACY = codes('1000 1001 1008 1011 2003 2004 2005 2006 3005 3007 3009 3010 3021 3027 3038 3039 5004');

/**
 * Which codes an answer or an event of each kind may carry. Those of captures and voids are a group that Wix has not published: any
 * current code that is not about connecting or pending may stand in for them.
 */
export const CODES_OF = {
  connect: new Set([...GENERAL, ...CONNECTION]),
  create: new Set([...GENERAL, ...DECLINE, ...PENDING]),
  refund: new Set([...GENERAL, ...REFUND_DECLINE]),
  capture: new Set([...GENERAL, ...DECLINE]),
  void: new Set([...GENERAL, ...DECLINE]),
} as const;

/** Currencies of ISO 4217 that are not in Wix's table. */
export const CURRENCIES_WIX_LACKS = ['XCG', 'CLF', 'UYW', 'ZWG'];
