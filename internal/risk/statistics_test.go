package risk

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/three-rivers-tech/trading-operator/internal/market"
	"github.com/three-rivers-tech/trading-operator/internal/order"
)

func barAt(end time.Time, length time.Duration, price market.Price) *market.Bar {
	return &market.Bar{Start: end.Add(-length), End: end, Open: price, High: price, Low: price, Close: price}
}

// near reports whether a fraction is what floating point says, to the precision
// of a return.
func near(got order.Fraction, want float64) bool {
	return math.Abs(fraction(got)-want) < 2e-6
}

// Statistics that are kept up bar by bar are those that the whole history gives.
func TestStatisticsFollowTheirDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // prices are drawn, not secrets
	s := NewStatistics(2, time.Hour)
	closes := [2][]float64{{100_000}, {50_000}}
	at := noon
	for i, price := range []market.Price{100_000, 50_000} {
		s.Add(i, barAt(at, time.Hour, price))
	}
	for n := range 2000 {
		at = at.Add(time.Hour)
		common := random.NormFloat64() * 0.01
		for i := range 2 {
			last := closes[i][len(closes[i])-1]
			price := market.Price(last * (1 + common + random.NormFloat64()*0.004*float64(i+1)))
			closes[i] = append(closes[i], float64(price))
			s.Add(i, barAt(at, time.Hour, price))
			long, short := s.Tails(i)
			volatility := s.Volatility(i)
			if n+1 < 30 {
				if long != Unknown || short != Unknown || volatility != Unknown {
					t.Fatalf("known after %d returns: %d, %d, %d", n+1, long, short, volatility)
				}
				continue
			}
			all := returnsOf(closes[i])
			window := slices.Sorted(slices.Values(all[max(len(all)-1440, 0):]))
			worst := int(math.Ceil(0.05*float64(len(window)))) - 1
			day := math.Sqrt(24)
			if !near(long, -window[worst]*day) || !near(short, window[len(window)-1-worst]*day) {
				t.Fatalf("after %d returns the tails are %s and %s, want %v and %v", n+1, long, short, -window[worst]*day, window[len(window)-1-worst]*day)
			}
			if want := deviation(all[len(all)-30:]) * day; !near(volatility, want) {
				t.Fatalf("after %d returns the volatility is %s, want %v", n+1, volatility, want)
			}
		}
		correlation, known := s.Correlation(1, 0)
		if known != (n+1 >= 30) {
			t.Fatalf("known after %d returns: %v", n+1, known)
		}
		if known {
			a, b := returnsOf(closes[0]), returnsOf(closes[1])
			from := max(len(a)-120, 0)
			if want := correlate(a[from:], b[from:]); math.Abs(fraction(correlation)-want) > 1e-5 {
				t.Fatalf("after %d returns the correlation is %s, want %v", n+1, correlation, want)
			}
		}
	}
}

func returnsOf(closes []float64) []float64 {
	returns := make([]float64, 0, len(closes))
	for i := 1; i < len(closes); i++ {
		returns = append(returns, (closes[i]-closes[i-1])/closes[i-1])
	}
	return returns
}

func mean(values []float64) (sum float64) {
	for _, v := range values {
		sum += v / float64(len(values))
	}
	return sum
}

func correlate(a, b []float64) float64 {
	ma, mb := mean(a), mean(b)
	var ab, aa, bb float64
	for i := range a {
		ab += (a[i] - ma) * (b[i] - mb)
		aa += (a[i] - ma) * (a[i] - ma)
		bb += (b[i] - mb) * (b[i] - mb)
	}
	return ab / math.Sqrt(aa*bb)
}

func deviation(values []float64) float64 {
	m, sum := mean(values), 0.0
	for _, v := range values {
		sum += (v - m) * (v - m)
	}
	return math.Sqrt(sum / float64(len(values)))
}

// Bars that are shorter than a frame give one return each frame, longer ones one
// each bar, and a frame of a week is no day's return made larger.
func TestStatisticsCountFrames(t *testing.T) {
	for _, test := range []struct {
		frame, bar time.Duration
		bars       int
		known      bool
	}{
		{time.Hour, 10 * time.Minute, 180, false}, {time.Hour, 10 * time.Minute, 190, true},
		{time.Minute, time.Hour, 30, false}, {time.Minute, time.Hour, 31, true},
		{7 * 24 * time.Hour, 7 * 24 * time.Hour, 31, true},
	} {
		s := NewStatistics(1, test.frame)
		for i := range test.bars {
			price := market.Price(100_000)
			if i%2 == 1 {
				price = 101_000
			}
			s.Add(0, barAt(noon.Add(time.Duration(i)*test.bar), test.bar, price))
		}
		long, _ := s.Tails(0)
		if (long != Unknown) != test.known {
			t.Errorf("%d bars of %s in frames of %s: known is %v", test.bars, test.bar, test.frame, long != Unknown)
		}
		if test.frame > 24*time.Hour && !near(long, 1000.0/101_000) {
			t.Errorf("a week loses %s", long)
		}
	}
}

func TestStatisticsForgetWhatIsOld(t *testing.T) {
	s := NewStatistics(1, time.Hour)
	at := noon
	crash := func(price market.Price, hours int) {
		for range hours {
			at = at.Add(time.Hour)
			s.Add(0, barAt(at, time.Hour, price))
		}
	}
	crash(100_000, 10)
	crash(50_000, 30)
	if long, _ := s.Tails(0); long != 0 {
		t.Errorf("one return of forty is not among the worst twentieth: %s", long)
	}
	for range 4 {
		crash(100_000, 1)
		crash(50_000, 1)
	}
	if long, _ := s.Tails(0); !near(long, 0.5*math.Sqrt(24)) {
		t.Errorf("five of fifty lose half, and the tail is %s", long)
	}
	crash(50_000, 60*24)
	if long, short := s.Tails(0); long != 0 || short != 0 || s.Volatility(0) != 0 {
		t.Errorf("after sixty days of rest: %s, %s, %s", long, short, s.Volatility(0))
	}
	if count := s.pairs[0].values.size; count != 60*24 {
		t.Errorf("%d returns are kept of sixty days of hours", count)
	}
	// After a gap of years nothing is known.
	at = at.Add(3 * 365 * 24 * time.Hour)
	crash(60_000, 1)
	if long, _ := s.Tails(0); long != Unknown || s.Volatility(0) != Unknown || s.pairs[0].sum != int64(s.pairs[0].values.at(0).value) {
		t.Errorf("after years: %s, %s", long, s.Volatility(0))
	}
}

func TestStatisticsAreBounded(t *testing.T) {
	s := NewStatistics(1, time.Second)
	for i := range mostReturns + 100 {
		price := market.Price(1)
		if i%2 == 1 {
			price = 1 << 60
		}
		s.Add(0, barAt(noon.Add(time.Duration(i)*time.Second), time.Second, price))
	}
	own := &s.pairs[0]
	if own.values.size != mostReturns || own.sorted.count != mostReturns {
		t.Errorf("%d returns, %d sorted", own.values.size, own.sorted.count)
	}
	if long, short := s.Tails(0); long <= order.Whole || short <= long || s.Volatility(0) <= 0 {
		t.Errorf("prices without bounds: %s, %s, %s", long, short, s.Volatility(0))
	}
}

// Values stay sorted in their blocks, whichever come and go.
func TestSortedValues(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // values are drawn, not secrets
	var s sortedValues
	var plain []int32
	for n := range 20_000 {
		if len(plain) > 0 && (random.IntN(5) < 2 || n > 15_000) {
			at := random.IntN(len(plain))
			s.remove(plain[at])
			plain = slices.Delete(plain, at, at+1)
		} else {
			value := int32(random.IntN(500)) //nolint:gosec // small, so that many are equal
			s.insert(value)
			at, _ := slices.BinarySearch(plain, value)
			plain = slices.Insert(plain, at, value)
		}
		if s.count != len(plain) {
			t.Fatalf("after %d steps %d values are counted, not %d", n, s.count, len(plain))
		}
		if n%100 == 0 && !slices.Equal(slices.Concat(s.blocks...), plain) {
			t.Fatalf("after %d steps the values are not sorted", n)
		}
		if len(plain) > 0 {
			if rank := random.IntN(len(plain)); s.at(rank) != plain[rank] {
				t.Fatalf("after %d steps rank %d is %d, not %d", n, rank, s.at(rank), plain[rank])
			}
		}
	}
}

func TestCorrelationNeedsMovement(t *testing.T) {
	s := NewStatistics(3, time.Hour)
	for i := range 200 {
		at := noon.Add(time.Duration(i) * time.Hour)
		s.Add(0, barAt(at, time.Hour, market.Price(1000+i%7)))
		s.Add(1, barAt(at, time.Hour, 1000))
		// Another clock: never the same frames.
		s.Add(2, barAt(at.Add(-30*24*365*time.Hour), time.Hour, market.Price(1000+i%7)))
	}
	for _, other := range []int{1, 2} {
		if correlation, known := s.Correlation(0, other); known {
			t.Errorf("with pair %d: %s", other, correlation)
		}
	}
}

func BenchmarkStatistics(b *testing.B) {
	s := NewStatistics(2, 5*time.Minute)
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // prices are drawn, not secrets
	at, n := noon, 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		if n%2 == 0 {
			at = at.Add(5 * time.Minute)
		}
		s.Add(n%2, barAt(at, 5*time.Minute, market.Price(100_000+random.IntN(1000))))
	}
}
