package risk

import (
	"math"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

const (
	// span is how far back returns count, but never less than spanFrames frames;
	// mostReturns is how many are kept: 60 days of five minutes, and some.
	span        = 60 * 24 * time.Hour
	spanFrames  = 60
	mostReturns = 20_000
	// fewestReturns that a statistic needs to be known.
	fewestReturns = 30
	// tailPerCent is the share of the worst returns behind the value at risk.
	tailPerCent = 5
	// volatilityReturns are the newest, behind the volatility of now.
	volatilityReturns = 30
	// correlatedReturns are the newest that two pairs have in common.
	correlatedReturns = 120
	// returnUnit is one whole in a return, and greatestReturn what a larger one
	// counts as: sums of squares then fit 64 bits.
	returnUnit     = 10_000_000
	greatestReturn = 10 * returnUnit
	// fractionPerReturn converts returns to fractions.
	fractionPerReturn = float64(order.Whole / returnUnit)
)

// Statistics are the returns of an agent's pairs from one frame to the next, and
// what can be read from them. They are kept up to date bar by bar, so that the
// gate only compares. The same bars give the same statistics on any machine.
type Statistics struct {
	pairs []returns
	cross []cross
}

// NewStatistics are those of so many pairs. A return is taken every frame, or
// every bar where bars are longer.
func NewStatistics(pairs int, frame time.Duration) *Statistics {
	s := &Statistics{pairs: make([]returns, pairs), cross: make([]cross, pairs*pairs)}
	for i := range s.pairs {
		s.pairs[i].frame = max(int64(frame/time.Second), 1)
	}
	return s
}

// Add takes the next bar of a pair.
func (s *Statistics) Add(pair int, bar *market.Bar) {
	own := &s.pairs[pair]
	if !own.add(bar) {
		return
	}
	newest := own.values.at(own.values.size - 1)
	for i := range s.pairs {
		other := &s.pairs[i].values
		if i == pair || other.size == 0 || other.at(other.size-1).at != newest.at {
			continue
		}
		first, second := newest.value, other.at(other.size-1).value
		if i < pair {
			first, second = second, first
		}
		s.between(i, pair).add(first, second)
	}
}

// between is what two pairs have in common.
func (s *Statistics) between(a, b int) *cross {
	return &s.cross[min(a, b)*len(s.pairs)+max(a, b)]
}

// Tails are the shares of its value that a long and a short position in the pair
// lose within a day in the worst of twenty, by the returns of the last 60 days;
// Unknown with fewer than 30.
func (s *Statistics) Tails(pair int) (long, short order.Fraction) {
	own := &s.pairs[pair]
	count := own.sorted.count
	if count < fewestReturns {
		return Unknown, Unknown
	}
	worst := (count*tailPerCent+99)/100 - 1
	return own.daily(float64(max(-own.sorted.at(worst), 0))), own.daily(float64(max(own.sorted.at(count-1-worst), 0)))
}

// Volatility is the deviation of a day's returns, by the newest 30 of a frame;
// Unknown with fewer.
func (s *Statistics) Volatility(pair int) order.Fraction {
	own := &s.pairs[pair]
	if own.values.size < volatilityReturns {
		return Unknown
	}
	const count = volatilityReturns
	variance := float64(count*own.squares-own.sum*own.sum) / (count * count)
	return own.daily(math.Sqrt(variance))
}

// Correlation of two pairs by the newest returns of the frames that they have in
// common; false with fewer than 30, or where a price has not moved.
func (s *Statistics) Correlation(a, b int) (order.Fraction, bool) {
	return s.between(a, b).correlation()
}

// returns are those of one pair in their order, and sorted.
type returns struct {
	// frame in seconds.
	frame  int64
	begun  bool
	at     int64
	price  market.Price
	values samples
	sorted sortedValues
	// sum and squares of the newest returns.
	sum, squares int64
}

// add takes a bar and reports whether it gave a return.
func (r *returns) add(bar *market.Bar) bool {
	r.frame = max(r.frame, int64(bar.End.Sub(bar.Start)/time.Second))
	at := bar.End.Unix()
	at -= at % r.frame
	if bar.Close <= 0 || (r.begun && at <= r.at) {
		return false
	}
	before, begun := r.price, r.begun
	r.begun, r.at, r.price = true, at, bar.Close
	if !begun {
		return false
	}
	r.put(sample{at, returnOf(before, bar.Close)})
	return true
}

// returnOf is the change of a price as a share of it.
func returnOf(before, after market.Price) int32 {
	change := order.Scale(market.Money(after-before), returnUnit, int64(before))
	return int32(min(max(change, -greatestReturn), greatestReturn))
}

// put adds a return and drops those that are too old.
func (r *returns) put(s sample) {
	oldest := s.at - max(int64(span/time.Second), spanFrames*r.frame)
	for r.values.size > 0 && (r.values.at(0).at <= oldest || r.values.size == mostReturns) {
		value := r.values.at(0).value
		if r.values.size <= volatilityReturns {
			r.count(value, -1)
		}
		r.sorted.remove(value)
		r.values.drop()
	}
	if r.values.size >= volatilityReturns {
		r.count(r.values.at(r.values.size-volatilityReturns).value, -1)
	}
	r.values.push(s)
	r.sorted.insert(s.value)
	r.count(s.value, 1)
}

func (r *returns) count(value int32, sign int64) {
	r.sum += sign * int64(value)
	r.squares += sign * int64(value) * int64(value)
}

// daily scales a return of a frame to a day, by the root of how many frames a
// day has. A frame that is longer than a day stands for itself.
func (r *returns) daily(value float64) order.Fraction {
	const day = float64(24 * time.Hour / time.Second)
	frames := max(day/float64(r.frame), 1)
	return order.Fraction(math.Round(value * math.Sqrt(frames) * fractionPerReturn))
}

// sample is the return of the frame that ended at a second of the Unix time.
type sample struct {
	at    int64
	value int32
}

// samples is a ring that grows.
type samples struct {
	ring        []sample
	first, size int
}

func (s *samples) at(i int) *sample { return &s.ring[(s.first+i)%len(s.ring)] }

func (s *samples) drop() { s.first, s.size = (s.first+1)%len(s.ring), s.size-1 }

func (s *samples) push(value sample) {
	if s.size == len(s.ring) {
		grown := make([]sample, max(2*len(s.ring), fewestReturns))
		for i := range s.size {
			grown[i] = *s.at(i)
		}
		s.ring, s.first = grown, 0
	}
	s.size++
	*s.at(s.size - 1) = value
}

// cross are the newest returns that two pairs have in common. The sums are of
// whole numbers, so that nothing is lost when the oldest leave.
type cross struct {
	x, y                            [correlatedReturns]int32
	next, count                     int
	sumX, sumY, sumXX, sumYY, sumXY int64
}

func (c *cross) add(x, y int32) {
	if c.count == correlatedReturns {
		c.sum(c.x[c.next], c.y[c.next], -1)
	} else {
		c.count++
	}
	c.x[c.next], c.y[c.next] = x, y
	c.next = (c.next + 1) % correlatedReturns
	c.sum(x, y, 1)
}

func (c *cross) sum(x, y int32, sign int64) {
	c.sumX += sign * int64(x)
	c.sumY += sign * int64(y)
	c.sumXX += sign * int64(x) * int64(x)
	c.sumYY += sign * int64(y) * int64(y)
	c.sumXY += sign * int64(x) * int64(y)
}

// correlation converts every product explicitly, so that no machine fuses it
// with a sum.
func (c *cross) correlation() (order.Fraction, bool) {
	if c.count < fewestReturns {
		return 0, false
	}
	count := float64(c.count)
	x, y := float64(c.sumX), float64(c.sumY)
	varianceX := float64(count*float64(c.sumXX)) - float64(x*x)
	varianceY := float64(count*float64(c.sumYY)) - float64(y*y)
	if varianceX <= 0 || varianceY <= 0 {
		return 0, false
	}
	covariance := float64(count*float64(c.sumXY)) - float64(x*y)
	value := covariance / float64(math.Sqrt(varianceX)*math.Sqrt(varianceY))
	return order.Fraction(math.Round(min(max(value, -1), 1) * float64(order.Whole))), true
}
