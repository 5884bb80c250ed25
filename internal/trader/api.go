package trader

import (
	"strings"

	"github.com/shopspring/decimal"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/risk"
)

const (
	longestMessage = 1024
	longestSource  = 512
	// averageDigits is how finely an average price is shown, in digits beyond
	// the tick's.
	averageDigits = 4
)

// API is the status as manifests show it, reported by the given pod. It has no
// reportedTime: the writer knows when it writes.
func (s *Status) API(podUID string) v1alpha1.TradingStatus {
	status := v1alpha1.TradingStatus{
		PodUID: podUID, ObservedGeneration: s.Generation, Epoch: s.Epoch, ReconciledEpoch: s.ReconciledEpoch,
		State: stateWord(s.State), Reason: s.Reason, Message: shortened(s.Message, longestMessage), Loop: v1alpha1.LoopState(s.Loop),
		Currency: s.Currency, Decisions: s.Decisions, Fills: s.Fills, OpenOrders: s.OpenOrders,
	}
	if s.EquityKnown {
		status.Equity = v1alpha1.SignedDecimal(s.Equity.String())
		status.PNL = v1alpha1.SignedDecimal(s.PNL.String())
		status.DrawdownFraction = v1alpha1.Fraction(s.drawdown().String())
	}
	for i := range s.Positions {
		status.Positions = append(status.Positions, s.Positions[i].API())
	}
	status.Halts = Acknowledgements(s.Halts)
	if d := s.LastDecision; d != nil {
		status.LastDecision = &v1alpha1.DecisionStatus{
			Time: new(metav1.NewTime(d.BarEnd)), Pair: d.Pair, Action: d.Action, Outcome: d.Outcome,
			ConfidenceFraction: v1alpha1.Fraction(decimal.New(d.ConfidenceMicros, -6).String()),
		}
	}
	if s.Data != "" || !s.LastBarTime.IsZero() {
		status.Data = &v1alpha1.DataStatus{Source: shortened(s.Data, longestSource)}
		if !s.LastBarTime.IsZero() {
			status.Data.LastBarTime = new(metav1.NewTime(s.LastBarTime))
		}
	}
	return status
}

// drawdown is the fall from the peak as a share of it, between 0 and 1.
func (s *Status) drawdown() decimal.Decimal {
	if s.Peak <= 0 || s.Equity >= s.Peak {
		return decimal.Zero
	}
	fall := (s.Peak - max(s.Equity, 0)).Decimal().DivRound(s.Peak.Decimal(), 6)
	return fall
}

// API is the position as manifests show it.
func (p *PositionStatus) API() v1alpha1.PositionStatus {
	status := v1alpha1.PositionStatus{
		Pair:     p.Instrument.Pair,
		Quantity: v1alpha1.SignedDecimal(p.Instrument.QuantityDecimal(p.Quantity).String()),
	}
	digits := min(max(-p.Instrument.Tick.Exponent(), 0)+averageDigits, 18)
	average := p.Cost.Decimal().DivRound(p.Instrument.QuantityDecimal(p.Quantity), digits)
	if average.Sign() >= 0 {
		status.AveragePrice = v1alpha1.Decimal(average.String())
	}
	if p.LastPrice > 0 {
		status.LastPrice = v1alpha1.Decimal(p.Instrument.PriceDecimal(p.LastPrice).String())
	}
	return status
}

func stateWord(state risk.TradingState) v1alpha1.TradingState {
	switch state {
	case risk.Enabled:
		return v1alpha1.TradingEnabled
	case risk.Reducing:
		return v1alpha1.TradingReduceOnly
	case risk.Halted:
	}
	return v1alpha1.TradingHalted
}

// shortened keeps a text within the schema's limit and in whole letters.
func shortened(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
}

const (
	// mostHalts and longestLeft are what the schema holds.
	mostHalts   = 32
	longestLeft = 512
)

// Acknowledgements are what an agent tells of the halts that bind it, the newest
// of too many.
func Acknowledgements(halts []Obeyed) []v1alpha1.HaltAcknowledgement {
	if len(halts) == 0 {
		return nil
	}
	newest := halts[max(len(halts)-mostHalts, 0):]
	told := make([]v1alpha1.HaltAcknowledgement, 0, len(newest))
	for i := range newest {
		h := &newest[i]
		acknowledgement := v1alpha1.HaltAcknowledgement{
			UID: h.UID, Halt: h.Name, State: v1alpha1.HaltAcknowledged, Message: shortened(h.Left, longestLeft),
			AcknowledgedTime: new(metav1.NewMicroTime(h.Acknowledged)),
		}
		if h.Done {
			acknowledgement.State, acknowledgement.DoneTime = v1alpha1.HaltDone, new(metav1.NewMicroTime(h.Finished))
		}
		told = append(told, acknowledgement)
	}
	return told
}
