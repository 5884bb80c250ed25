package ledger

import (
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/order"
)

// side is an order's side on its way into the database: Buy or Sell.
type side order.Side

// Value implements driver.Valuer.
func (s side) Value() (driver.Value, error) {
	switch order.Side(s) {
	case order.Buy:
		return "Buy", nil
	case order.Sell:
		return "Sell", nil
	default:
		return nil, fmt.Errorf("side %d is neither buy nor sell", s)
	}
}

// MarshalText makes it the same word in the outbox.
func (s side) MarshalText() ([]byte, error) {
	word, err := s.Value()
	if err != nil {
		return nil, err
	}
	return []byte(word.(string)), nil
}

// readSide is an order's side on its way out of the database.
type readSide order.Side

// Scan implements sql.Scanner.
func (s *readSide) Scan(from any) error {
	switch from {
	case "Buy":
		*s = readSide(order.Buy)
	case "Sell":
		*s = readSide(order.Sell)
	default:
		return fmt.Errorf("side %q is neither Buy nor Sell", from)
	}
	return nil
}

// text reads a text that may be null into bytes.
type text []byte

// Scan implements sql.Scanner.
func (t *text) Scan(from any) error {
	switch from := from.(type) {
	case nil:
		*t = nil
	case string:
		*t = []byte(from)
	default:
		return fmt.Errorf("a text was expected, not %T", from)
	}
	return nil
}

// utcInstant reads a time that may be null as one in UTC; null is zero.
type utcInstant time.Time

// Scan implements sql.Scanner.
func (u *utcInstant) Scan(from any) error {
	switch from := from.(type) {
	case nil:
		*u = utcInstant{}
	case time.Time:
		*u = utcInstant(from.UTC())
	default:
		return fmt.Errorf("a time was expected, not %T", from)
	}
	return nil
}

// instant writes a time that may be zero; zero is null.
func instant(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}
