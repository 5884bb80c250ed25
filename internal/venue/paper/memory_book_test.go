package paper_test

import (
	"testing"

	"github.com/three-rivers-tech/trading-operator/internal/venue/paper"
	"github.com/three-rivers-tech/trading-operator/internal/venue/paper/papertest"
)

func TestMemoryBook(t *testing.T) {
	papertest.RunBook(t, func(*testing.T) paper.Book { return paper.NewMemoryBook() })
}
