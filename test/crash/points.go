package main

import (
	"slices"

	"github.com/three-rivers-tech/trading-operator/test/crash/wire"
)

// moment says when an agent comes to a point.
type moment int

// Agents come to a point while they trade, unless it says otherwise.
const (
	// starting agents come to it before they are ready.
	starting moment = iota + 1
	// recovering agents come to it before they are ready, if the process before
	// them has left an order whose outcome is open.
	recovering
	// ending agents come to it when they are asked to end.
	ending
	// adopting agents come to it when they first start after another agent that held
	// a position in their pairs is gone.
	adopting
)

// point is where a fault strikes.
type point struct {
	// name of the failpoint; that of a stage of the line, or of chance, otherwise.
	name string
	when moment
	// stage of an order on the line, where line is set.
	line  bool
	stage wire.Stage
	// chance strikes after a while, wherever the agent is then.
	chance bool
	// asking agents come to it when they do not know what became of an order.
	asking bool
	// resting agents come to it when an order of theirs is not filled.
	resting bool
}

// points are all of them: before and after every step that something durable
// depends on.
var points = []point{
	// The epoch, the claims on pairs, and what the last process left behind.
	{name: "epochWanted", when: starting},
	{name: "epochAdvanced", when: starting},
	{name: "pairsClaimed", when: starting},
	{name: "adoptionWanted", when: adopting},
	{name: "claimWanted", when: adopting},
	{name: "epochTaken", when: starting},
	{name: "leftBehindRead", when: starting},
	{name: "feedOpened", when: starting},
	// Reconciliation.
	{name: "reconcileBegun", when: starting},
	{name: "reconcileLoaded", when: starting},
	{name: "reconcileFillSeen", when: starting},
	{name: "reconcileFillsBooked", when: starting},
	{name: "resolveWanted", when: recovering},
	{name: "resolveAnswered", when: recovering},
	{name: "openOrdersWanted", when: starting},
	{name: "openOrdersKnown", when: starting},
	{name: "positionsCompared", when: starting},
	{name: "reconciled", when: starting},
	// A decision and its orders, from the commit to the answer.
	{name: "decisionMade"},
	{name: "decisionChecked"},
	{name: "decisionCommitted"},
	{name: "sendWanted"},
	{name: "sendRecorded"},
	{name: "orderLeaves"},
	{name: wire.FirstByte.String(), line: true, stage: wire.FirstByte},
	{name: wire.LastByte.String(), line: true, stage: wire.LastByte},
	{name: wire.Answer.String(), line: true, stage: wire.Answer},
	{name: "orderAnswered"},
	{name: "newsHeard"},
	// Fills, shares and marks.
	{name: "fillSeen"},
	{name: "fillPosted"},
	{name: "fillBooked"},
	{name: "shareWanted"},
	{name: "shareGranted"},
	{name: "markMade"},
	// Cancelling and asking.
	{name: "cancelWanted", resting: true},
	{name: "cancelAnswered", resting: true},
	{name: "lookupWanted", asking: true},
	{name: "lookupAnswered", asking: true},
	// Any transaction, directly before its COMMIT and directly after the answer.
	{name: "transactionReady"},
	{name: "transactionAnswered"},
	{name: "stopping", when: ending},
	{name: "anywhere", chance: true},
}

// openings are the points at which a process that dies leaves an order whose
// outcome is open.
var openings = []string{"decisionCommitted", "sendWanted", "sendRecorded", "orderLeaves", "orderAnswered", "newsHeard"}

// kind is what strikes.
type kind int

const (
	killAgent kind = iota
	stopDatabase
	cutLine
)

// String names the fault.
func (k kind) String() string {
	return [...]string{"SIGKILL of the agent", "immediate stop of PostgreSQL", "cut of the line"}[k]
}

// strike is one fault at one point.
type strike struct {
	point point
	kind  kind
}

// strikes are all that make sense where there is a line, or none.
func strikes(line bool) []strike {
	var all []strike
	for _, p := range points {
		if p.line && !line {
			continue
		}
		for _, k := range []kind{killAgent, stopDatabase, cutLine} {
			if k == cutLine && !line {
				continue
			}
			all = append(all, strike{p, k})
		}
	}
	return all
}

// failpoints are the names that the program must have.
func failpoints() []string {
	var names []string
	for _, p := range points {
		if !p.line && !p.chance {
			names = append(names, p.name)
		}
	}
	slices.Sort(names)
	return names
}
