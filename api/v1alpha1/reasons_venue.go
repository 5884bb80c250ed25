package v1alpha1

// Reasons of what is checked at a venue: the account, its key and the pairs that
// are traded on it.
const (
	ReasonVenueRateLimited    = "VenueRateLimited"
	ReasonVenueAnswerUnknown  = "VenueAnswerUnknown"
	ReasonVenueCannotVerify   = "VenueCannotVerify"
	ReasonVenueChecking       = "VenueChecking"
	ReasonShortUnsupported    = "ShortSellingUnsupported"
	ReasonCredentialsNotFound = "CredentialsNotFound"
	ReasonCredentialsInvalid  = "CredentialsInvalid"
	ReasonCredentialsRefused  = "CredentialsRefused"
	ReasonKeyCannotView       = "KeyCannotView"
	ReasonKeyCannotTrade      = "KeyCannotTrade"
	ReasonKeyCanWithdraw      = "KeyCanWithdraw"
	ReasonAccountClaimed      = "AccountClaimed"
	ReasonVenueAccountChanged = "VenueAccountChanged"
	ReasonPairNotListed       = "PairNotListed"
	ReasonPairNotTradable     = "PairNotTradable"
	ReasonTickMismatch        = "TickMismatch"
	ReasonLotMismatch         = "LotMismatch"
	ReasonMinNotionalTooLow   = "MinNotionalTooLow"
	ReasonMinQuantityTooLow   = "MinQuantityTooLow"
)

func venueReasons() []Reason {
	return []Reason{
		{ReasonVenueRateLimited, "The venue asks to be left alone for a while.", "Nothing, unless it stays so: then other programs use the same account; give each a key of its own."},
		{ReasonVenueAnswerUnknown, "The venue answers in a way that this operator does not understand.", "Look at the message and at the operator's --venue-gateway; if both are right, upgrade the operator."},
		{ReasonVenueCannotVerify, "The venue, or its environment, has no way to ask what the key may do, so the account cannot be accepted.", "Look at the message; use environment Production where it says so."},
		{ReasonVenueChecking, "The venue is being asked; the agent starts when it has answered.", "If it stays so, look at the message and at the agent's TradingAccount."},
		{ReasonShortUnsupported, "The agent may want to sell what it does not hold, and the account's venue sells only what is held.", "Set spec.decision.direction to LongOnly, or leave it out."},
		{ReasonCredentialsNotFound, "The Secret with the account's credentials, or one of its keys, does not exist.", "Create it, or correct the account's credentialsRef."},
		{ReasonCredentialsInvalid, "The account's credentials are not in the form that the venue needs; the message says which part.", "Correct the Secret."},
		{ReasonCredentialsRefused, "The venue does not know the key, or does not accept its signature.", "Make a new key at the venue, and put it into the Secret."},
		{ReasonKeyCannotView, "The key may not read the account.", "Make a key that may view and trade, and not withdraw."},
		{ReasonKeyCannotTrade, "The key may not trade.", "Make a key that may view and trade, and not withdraw."},
		{ReasonKeyCanWithdraw, "The key may move money out of the account, which no agent needs.", "Make a key that may not withdraw, put it into the Secret, and delete the old key at the venue."},
		{ReasonAccountClaimed, "Another TradingAccount is the same account at the venue; two would not know of each other's orders.", "Delete one of the two, or use a key of another account."},
		{ReasonVenueAccountChanged, "The key is for another account at the venue than before, while agents trade on this one.", "Put a key of the former account back, or create another TradingAccount."},
		{ReasonPairNotListed, "The venue does not list the pair, or not for this account.", "Correct base and quote of the AssetPair, or trade another pair."},
		{ReasonPairNotTradable, "The venue lists the pair but takes no orders in it for this account.", "Wait until the venue opens it, or trade another pair."},
		{ReasonTickMismatch, "The AssetPair's tickSize is no multiple of the venue's price increment.", "Create an AssetPair with the tickSize that the message names."},
		{ReasonLotMismatch, "The AssetPair's lotSize is no multiple of the venue's quantity increment.", "Create an AssetPair with the lotSize that the message names."},
		{ReasonMinNotionalTooLow, "The AssetPair's minNotional is below what the venue takes.", "Raise minNotional to what the message names."},
		{ReasonMinQuantityTooLow, "The AssetPair's minQuantity, or its lotSize where that is not set, is below what the venue takes.", "Set minQuantity to what the message names."},
	}
}
