package trader

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/shopspring/decimal"
)

// WriteText prints the result in aligned lines for people.
func (r *Result) WriteText(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, values ...any) {
		// The writer keeps everything until Flush, which reports its errors.
		_, _ = fmt.Fprintf(table, "%s\t%s\n", name, fmt.Sprintf(format, values...))
	}
	line("Data", "%s", r.Data)
	line("From", "%s", r.From.UTC().Format(time.RFC3339))
	line("To", "%s", r.To.UTC().Format(time.RFC3339))
	line("Bars", "%d", r.Bars)
	line("Decisions", "%d", r.Decisions)
	line("Fills", "%d", r.Fills)
	line("Trades", "%d (round trips), %s won", r.Trades, percentOf(r.WinFraction()))
	line("Balance", "%s %s", r.Balance.StringFixed(2), r.Currency)
	line("Equity", "%s %s", r.Equity.StringFixed(2), r.Currency)
	line("PnL", "%s %s (%s)", r.PNL.StringFixed(2), r.Currency, percentOf(r.returned()))
	line("Fees", "%s %s", r.Fees.StringFixed(2), r.Currency)
	line("Max drawdown", "%s", percentOf(r.MaxDrawdownFraction))
	if r.Sharpe != nil {
		line("Sharpe", "%s (%d hourly returns, annualised with %d hours a year)", r.Sharpe.StringFixed(2), r.SharpeHours, r.HoursPerYear)
	} else {
		line("Sharpe", "unknown (%d hourly returns; %d that move are needed)", r.SharpeHours, fewestHours)
	}
	line("Exposure", "%s of bars", percentOf(r.ExposureFraction))
	for _, position := range r.OpenPositions {
		line("Open at the end", "%s %s at %s", position.Quantity, position.Pair, position.LastPrice)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// WriteJSON prints the result as one indented JSON object.
func (r *Result) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func (r *Result) returned() decimal.Decimal {
	if r.Balance.IsZero() {
		return decimal.Zero
	}
	return r.PNL.DivRound(r.Balance, 6)
}

func percentOf(fraction decimal.Decimal) string { return fraction.Shift(2).StringFixed(2) + " %" }
