package admission_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// The policies are written in CEL and cannot ask the table of venues: a venue that
// is added there must be added here.
func TestPoliciesKnowEveryVenue(t *testing.T) {
	read := func(name string) string {
		text, err := fs.ReadFile(os.DirFS("../../config/admission"), name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	mode, direction := read("mode.yaml"), read("direction.yaml")
	var spot []string
	for _, venue := range v1alpha1.RealVenues() {
		if path := "params.spec.?" + strings.ToLower(string(venue)) + ".?environment"; !strings.Contains(mode, path) {
			t.Errorf("mode.yaml does not read %s", path)
		}
		if venue.IsSpot() {
			spot = append(spot, "'"+string(venue)+"'")
		}
	}
	if list := "params.spec.venue in [" + strings.Join(spot, ", ") + "]"; !strings.Contains(direction, list) {
		t.Errorf("direction.yaml does not say %s", list)
	}
}
