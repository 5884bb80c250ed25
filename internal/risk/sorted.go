package risk

import (
	"cmp"
	"slices"
)

// blockSize is how many values a block holds at most: few enough to be moved in
// no time, and enough for few blocks.
const blockSize = 256

// sortedValues are values in ascending order, in blocks none of which is empty,
// so that putting one in moves no more than a block.
type sortedValues struct {
	blocks [][]int32
	count  int
}

// block that a value is in, or belongs into.
func (s *sortedValues) block(value int32) int {
	at, _ := slices.BinarySearchFunc(s.blocks, value, func(block []int32, value int32) int {
		return cmp.Compare(block[len(block)-1], value)
	})
	return min(at, len(s.blocks)-1)
}

func (s *sortedValues) insert(value int32) {
	s.count++
	if len(s.blocks) == 0 {
		s.blocks = append(s.blocks, append(make([]int32, 0, blockSize), value))
		return
	}
	at := s.block(value)
	if len(s.blocks[at]) == blockSize {
		upper := append(make([]int32, 0, blockSize), s.blocks[at][blockSize/2:]...)
		s.blocks[at] = s.blocks[at][:blockSize/2]
		s.blocks = slices.Insert(s.blocks, at+1, upper)
		at = s.block(value)
	}
	i, _ := slices.BinarySearch(s.blocks[at], value)
	s.blocks[at] = slices.Insert(s.blocks[at], i, value)
}

// remove takes out a value that is in.
func (s *sortedValues) remove(value int32) {
	at := s.block(value)
	i, _ := slices.BinarySearch(s.blocks[at], value)
	s.blocks[at] = slices.Delete(s.blocks[at], i, i+1)
	if len(s.blocks[at]) == 0 {
		s.blocks = slices.Delete(s.blocks, at, at+1)
	}
	s.count--
}

// at is the value of a rank, counted from the least.
func (s *sortedValues) at(rank int) int32 {
	for _, block := range s.blocks {
		if rank < len(block) {
			return block[rank]
		}
		rank -= len(block)
	}
	return 0
}
