package v1alpha1

// Decimal is a non-negative decimal number written as a string, such as
// "1000" or "0.0006". Never a float: a manifest must mean the same number
// wherever it is read.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=38
// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?$`
type Decimal string

// PositiveDecimal is a Decimal that is not zero.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=38
// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?$`
// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="must be greater than zero"
type PositiveDecimal string

// SignedDecimal is a decimal number that may be negative, such as "-12.50".
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=39
// +kubebuilder:validation:Pattern=`^-?(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?$`
type SignedDecimal string

// Fraction is a share between "0" and "1", both included: "0.02" is two per
// cent. Nothing in the API guesses per cent, so "2" and "1.5" are refused.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=11
// +kubebuilder:validation:XValidation:rule="self.matches('^(0([.][0-9]{1,9})?|1([.]0{1,9})?)$')",message="must be a fraction between \"0\" and \"1\" written as a string: two per cent is \"0.02\""
type Fraction string

// ObjectReference names an object of the namespace that the reference is in.
type ObjectReference struct {
	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
}

// SecretKeyReference names one key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// key inside the Secret's data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// TradingState says how far something may trade. The strictest state of
// everything that binds an agent wins: Halted over ReduceOnly over Enabled.
//
// +kubebuilder:validation:Enum=Enabled;ReduceOnly;Halted
type TradingState string

const (
	// TradingEnabled lets orders open, change and close positions.
	TradingEnabled TradingState = "Enabled"
	// TradingReduceOnly lets through only orders that shrink a position.
	TradingReduceOnly TradingState = "ReduceOnly"
	// TradingHalted lets no order out and cancels those that are open.
	TradingHalted TradingState = "Halted"
)

// Strictest returns the strictest of the given states. An unknown or empty
// state counts as Enabled only when it is empty; any other unknown word halts,
// because a newer word may mean something stricter than this binary knows.
func Strictest(states ...TradingState) TradingState {
	rank := func(s TradingState) int {
		switch s {
		case "", TradingEnabled:
			return 0
		case TradingReduceOnly:
			return 1
		default:
			return 2
		}
	}
	worst := 0
	for _, s := range states {
		worst = max(worst, rank(s))
	}
	return [...]TradingState{TradingEnabled, TradingReduceOnly, TradingHalted}[worst]
}
