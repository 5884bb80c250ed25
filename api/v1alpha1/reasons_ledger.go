package v1alpha1

// ConditionIntact of a Ledger says whether the database has everything that it had
// when its heads were last copied to status.anchor. It informs; agents look for
// themselves.
const ConditionIntact = "Intact"

// Reasons of the condition Intact.
const (
	ReasonLedgerIntact      = "LedgerIntact"
	ReasonLedgerForgot      = "LedgerForgot"
	ReasonLedgerNotAnchored = "LedgerNotAnchored"
)

func ledgerReasons() []Reason {
	return []Reason{
		{ReasonLedgerIntact, "The database has everything that it had when its hash chains were last anchored.", ""},
		{ReasonLedgerForgot, "The database has lost something that it had committed, or may have: it was restored from an older copy, or its server failed over. No agent opens a position before it has proven its open orders at the venue.",
			"Wait until every agent has proven its orders; what has stayed away, delete. If a newer copy of the database exists, stop the agents and restore it. `trading-agent ledger verify` shows whether what is left is whole."},
		{ReasonLedgerNotAnchored, "The heads of the hash chains could not be read or copied, so a database that forgets would not be noticed from outside.", "Look at the message: the URI in spec.uriSecretRef must be that of the schema's owner."},
	}
}
