package stream

import (
	"fmt"
	"strings"
)

// Topic is what an event is about.
type Topic uint8

// Topics that a client may subscribe to.
const (
	// Fills, Orders and Decisions are the ledger's news. Their ids survive a
	// restart of the agent.
	Fills Topic = iota
	Orders
	Decisions
	// Positions, Equity, Quotes and Status tell what holds now. A client that
	// subscribes gets the newest of each at once; older ones are gone with the
	// process.
	Positions
	Equity
	Quotes
	Status
	topicCount
)

// Topics of the stream itself, which nobody subscribes to.
const (
	topicSubscribed = "subscribed"
	topicGap        = "gap"
	topicError      = "error"
)

var topicWords = [topicCount]string{
	Fills: "fills", Orders: "orders", Decisions: "decisions",
	Positions: "positions", Equity: "equity", Quotes: "quotes", Status: "status",
}

// String is the word for the topic in messages.
func (t Topic) String() string {
	if t >= topicCount {
		return fmt.Sprintf("Topic(%d)", uint8(t))
	}
	return topicWords[t]
}

// ParseTopic finds the topic of a word.
func ParseTopic(word string) (Topic, error) {
	for topic, known := range topicWords {
		if word == known {
			return Topic(topic), nil
		}
	}
	return 0, fmt.Errorf("unknown topic; known are %s", strings.Join(topicWords[:], ", "))
}

// topicSet is a set of topics.
type topicSet uint8

const (
	newsTopics  = topicSet(1<<Fills | 1<<Orders | 1<<Decisions)
	stateTopics = topicSet(1<<Positions | 1<<Equity | 1<<Quotes | 1<<Status)
)

func (s topicSet) has(t Topic) bool          { return s&(1<<t) != 0 }
func (s topicSet) with(t Topic) topicSet     { return s | 1<<t }
func (s topicSet) meets(other topicSet) bool { return s&other != 0 }

// words are the topics of the set, in their usual order.
func (s topicSet) words() []string {
	words := make([]string, 0, topicCount)
	for topic := range topicCount {
		if s.has(topic) {
			words = append(words, topic.String())
		}
	}
	return words
}
