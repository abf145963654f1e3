/** Wix's names of payment methods, in its own spelling (contract 14). */
const NAMES = `
  creditCard skrillCreditcard googlePay applePay payPal alipay weChatPay unionpay linePay neteller skrill qiwi webMoney oneCard
  cherryCredits toss visaQR digitalMoney mobilePayment cultureVoucher happyMoney paysafecard

  iDeal sofort giropay instantTransfer rapidTransfer trustly trustpay sepa przelewy24 poli netpay myBank nordeaSolo ePay bancontact
  bancontactMistercash bankTransfer payEasy malaysiaBankTransfer singaporeBankTransfer thailandBankTransfer philippineBankTransfer
  indonesiaBankTransfer vietnamBankTransfer brazilianBankTransfer astropayDBT astropayMBT

  convenienceStore boleto oxxo efecty multibanco paysafecash astropayCash malaysiaCashPayment thailandCashPayment
  argentineCashPayment klarna splitit afterpay laybuy facilyPayOney titreRestaurantConecsNetwork ticketRestaurantEdenredNetwork

  mercadoPago pagSeguro privat24 uniPay iyzico dpo portmone peachPayment paystack bankful payTR uapay razorpay yoco`;

const byLowerCase = new Map(
  NAMES.trim()
    .split(/\s+/)
    .map((name) => [name.toLowerCase(), name]),
);
const APP_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Wix's own spelling of a method, whatever case it came in; empty for a hosted page, which Wix names by an app id or not at all;
 * undefined for a name that Wix does not have.
 */
export function readPaymentMethod(name: string): string | undefined {
  return name === '' || APP_ID.test(name) ? '' : byLowerCase.get(name.toLowerCase());
}
