package keys

import "regexp"

// spelled finds whatever looks like a key or ticket in a text.
var spelled = regexp.MustCompile(`t[at]_[0-9A-Za-z_-]{16,}`)

// redact takes out of a text what looks like a key or ticket, for clients that put
// theirs where it does not belong.
func redact(text string) string {
	const longest = 512
	if len(text) > longest {
		text = text[:longest]
	}
	return spelled.ReplaceAllString(text, "[redacted]")
}
