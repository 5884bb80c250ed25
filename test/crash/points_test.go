package main

import (
	"slices"
	"testing"

	"github.com/three-rivers-tech/trading-operator/test/crash/instrument"
)

// Every failpoint in the source is struck, and every point that is to be struck is
// in the source.
func TestPoints(t *testing.T) {
	found, err := instrument.Failpoints(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	found = slices.DeleteFunc(found, func(name string) bool { return name == "clockAhead" })
	if wanted := failpoints(); !slices.Equal(found, wanted) {
		t.Errorf("the source has the failpoints\n%v\nand the table\n%v", found, wanted)
	}
	for _, step := range steps {
		if !slices.Contains(found, step) {
			t.Errorf("owners are stopped at %s, which is not in the source", step)
		}
	}
}

func TestStrikes(t *testing.T) {
	if points := len(failpoints()); points < 24 {
		t.Errorf("there are %d points in the source", points)
	}
	if with, without := len(strikes(true)), len(strikes(false)); with != 3*len(points) || without != 2*(len(points)-3) {
		t.Errorf("%d points make %d strikes with a line and %d without", len(points), with, without)
	}
}
