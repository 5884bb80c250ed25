package stream

import "sync"

// batchSize is about how much is written at once: one TLS record.
const batchSize = 16 << 10

var batchBuffers = sync.Pool{New: func() any {
	buffer := make([]byte, 0, batchSize)
	return &buffer
}}

// batch gathers frames for one write. A single frame is written from where it is;
// several are copied into one buffer, which for small frames is cheaper than a
// vector of them, and makes one TLS record instead of many.
type batch struct {
	frames int
	single []byte
	buffer *[]byte
}

func (b *batch) add(frame []byte) {
	b.frames++
	if b.frames == 1 {
		b.single = frame
		return
	}
	if b.buffer == nil {
		b.buffer = batchBuffers.Get().(*[]byte) //nolint:forcetypeassert // The pool holds nothing else.
	}
	if b.frames == 2 {
		*b.buffer = append((*b.buffer)[:0], b.single...)
	}
	*b.buffer = append(*b.buffer, frame...)
}

func (b *batch) full() bool {
	return b.frames > 0 && len(b.bytes()) >= batchSize/2
}

func (b *batch) bytes() []byte {
	if b.frames == 1 {
		return b.single
	}
	return *b.buffer
}

func (b *batch) reset() { b.frames, b.single = 0, nil }

// release gives the buffer back, unless a long event has made it too big to keep.
func (b *batch) release() {
	if b.buffer != nil && cap(*b.buffer) <= 4*batchSize {
		batchBuffers.Put(b.buffer)
	}
	*b = batch{}
}
