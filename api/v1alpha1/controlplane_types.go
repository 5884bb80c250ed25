package v1alpha1

// ControlLoss says what an agent does while it cannot see the API server, where
// halts are created.
//
// +kubebuilder:validation:Enum=Continue;ReduceOnly;Halt
type ControlLoss string

const (
	// LossContinue trades on.
	LossContinue ControlLoss = "Continue"
	// LossReduceOnly lets through only orders that shrink a position.
	LossReduceOnly ControlLoss = "ReduceOnly"
	// LossHalt lets no order out and cancels those that are open.
	LossHalt ControlLoss = "Halt"
)

// ControlPlaneSpec says what an agent does that cannot be reached by a halt.
//
// +kubebuilder:validation:MinProperties=1
type ControlPlaneSpec struct {
	// staleAfterSeconds is for how long the API server may not answer before
	// onLoss is done; it is undone when the API server answers again. 60 when not
	// set.
	// +optional
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=3600
	StaleAfterSeconds int32 `json:"staleAfterSeconds,omitempty"`

	// onLoss is Continue, ReduceOnly or Halt. An agent of mode Live must choose;
	// one of mode Paper continues when it is not set.
	// +optional
	OnLoss ControlLoss `json:"onLoss,omitempty"`
}
