package v1alpha1

import (
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// Lengths of a pair's name in normal form. The shortest assets have two
// characters and the longest that a Currency allows have twelve.
const (
	minPairLength = 4
	maxPairLength = 24
)

var pairNamePattern = regexp.MustCompile(`^[A-Za-z0-9]+([-/_ ][A-Za-z0-9]+)*$`)

// NormalizePair brings any usual spelling of a pair into normal form: upper
// case letters and digits only. "BTC-USD", "btcusd", "BTC/USD", "BTC USD" and
// "btc_usd" all become BTCUSD. It refuses what it would have to guess about.
func NormalizePair(name string) (string, error) {
	if name == "" {
		return "", errors.New("must not be empty; write base and quote, such as BTC-USD")
	}
	for _, letter := range name {
		if letter > '~' {
			return "", fmt.Errorf("has the character %q (U+%04X), which is not ASCII: a look-alike of another letter? Write letters A to Z and digits, such as BTC-USD", letter, letter)
		}
	}
	if strings.Contains(name, ":") {
		return "", fmt.Errorf("%q is derivatives notation; this names a spot pair, such as BTC-USDT", name)
	}
	if trimmed := strings.Trim(name, "-/_ "); trimmed != name {
		return "", fmt.Errorf("%q is one-sided; write base and quote, such as BTC-USD", name)
	}
	if !pairNamePattern.MatchString(name) {
		return "", fmt.Errorf("%q has a character that normalisation would have to drop; write letters and digits, parted by single - / _ or spaces, such as BTC-USD", name)
	}
	normal := strings.ToUpper(strings.NewReplacer("-", "", "/", "", "_", "", " ", "").Replace(name))
	if len(normal) < minPairLength || len(normal) > maxPairLength {
		return "", fmt.Errorf("%q has %d letters and digits; a pair has %d to %d, such as BTC-USD", name, len(normal), minPairLength, maxPairLength)
	}
	return normal, nil
}

// Canonical is the spelling of the pair that every other place shows.
func (p *AssetPair) Canonical() string {
	return string(p.Spec.Base) + "-" + string(p.Spec.Quote)
}

// NormalNames are the normal forms by which the pair is found: base and quote,
// and every alias. A name that has no normal form is left out; the validator
// reports it.
func (p *AssetPair) NormalNames() []string {
	names := make([]string, 0, 1+len(p.Spec.Aliases))
	seen := map[string]bool{}
	for _, name := range append([]string{p.Canonical()}, p.Spec.Aliases...) {
		normal, err := NormalizePair(name)
		if err != nil || seen[normal] {
			continue
		}
		seen[normal] = true
		names = append(names, normal)
	}
	return names
}

// FindPair finds the pair that a selector means: the one whose object name it
// is, or one of whose declared spellings it is. It returns nil if there is none.
// Where two pairs claim a spelling, the older object has it.
func FindPair(pairs []AssetPair, name string) *AssetPair {
	for i := range pairs {
		if pairs[i].Name == name {
			return &pairs[i]
		}
	}
	normal, err := NormalizePair(name)
	if err != nil {
		return nil
	}
	var candidates []*AssetPair
	for i := range pairs {
		for _, declared := range pairs[i].NormalNames() {
			if declared == normal {
				candidates = append(candidates, &pairs[i])
			}
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	sort.SliceStable(candidates, func(a, b int) bool { return olderPair(candidates[a], candidates[b]) })
	return candidates[0]
}

func olderPair(a, b *AssetPair) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}
