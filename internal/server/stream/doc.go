// Package stream tells clients over WebSockets what an agent does, as it happens.
//
// An event is encoded once, into a frame that is ready to send, and put into a
// ring that all clients read at their own pace. A client has no queue of its own,
// only a place in the ring; who falls behind by the whole ring is dropped. Writing
// to a client takes a goroutine only while there is something to write.
package stream
