package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds on what a client may send.
const (
	// longestMessage in bytes; a subscription to everything has some 150.
	longestMessage = 2 << 10
	// mostWords in a subscription.
	mostWords = 32
	longestID = 96
	// longestWord of a topic that is repeated in an error.
	longestWord = 32
)

// subscription is what a client asks for. It takes the place of what the client
// asked for before.
type subscription struct {
	topics topicSet
	// unknown topics, shortened and cleaned.
	unknown []string
	// after is the id of the last event that the client has; empty for none.
	after string
}

// parseSubscription reads a client's message. Its errors go back to the client and
// repeat nothing of the message.
func parseSubscription(message []byte) (subscription, error) {
	var document struct {
		Subscribe *[]string `json:"subscribe"`
		After     string    `json:"after"`
	}
	decoder := json.NewDecoder(bytes.NewReader(message))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&document); err != nil {
		return subscription{}, errors.New(`the message is not {"subscribe": [topics], "after": "id"}`)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return subscription{}, errors.New("the message goes on after its JSON object; send one object a message")
	}
	if document.Subscribe == nil {
		return subscription{}, errors.New(`the message has no "subscribe"; send the list of topics, empty for none`)
	}
	if len(*document.Subscribe) > mostWords {
		return subscription{}, fmt.Errorf("more than %d topics", mostWords)
	}
	if len(document.After) > longestID {
		return subscription{}, errors.New(`"after" is too long for the id of an event`)
	}
	wanted := subscription{after: document.After}
	for _, word := range *document.Subscribe {
		topic, err := ParseTopic(word)
		if err != nil {
			wanted.unknown = append(wanted.unknown, cleaned(word))
			continue
		}
		wanted.topics = wanted.topics.with(topic)
	}
	return wanted, nil
}

// cleaned is a word that can be repeated to its sender.
func cleaned(word string) string {
	word = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, word)
	if len(word) > longestWord {
		return word[:longestWord] + "..."
	}
	return word
}
