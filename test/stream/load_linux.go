package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

const (
	// mostReady is how many connections one look at the kernel's list returns at most.
	mostReady = 256
	// lookFor is how long one look lasts, in milliseconds.
	lookFor = 100
)

// readTogether reads from plain connections with one thread: a goroutine for each
// would take from the server what it is to be measured with. It says whether it does.
func (c *crowd) readTogether(members []*member) (bool, error) {
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false, fmt.Errorf("epoll: %w", err)
	}
	byFile := make(map[int32]*member, len(members))
	for _, m := range members {
		tcp, plain := m.conn.(*net.TCPConn)
		if !plain {
			return false, syscall.Close(poll)
		}
		raw, err := tcp.SyscallConn()
		if err != nil {
			return false, errors.Join(err, syscall.Close(poll))
		}
		var added error
		err = raw.Control(func(file uintptr) {
			number := int32(file) //nolint:gosec // Numbers of files are small.
			m.file, byFile[number] = int(number), m
			added = syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, m.file, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: number})
		})
		if err := errors.Join(err, added); err != nil {
			return false, errors.Join(fmt.Errorf("epoll: %w", err), syscall.Close(poll))
		}
	}
	c.watching.Go(func() {
		c.watch(poll, byFile)
		_ = syscall.Close(poll)
	})
	return true, nil
}

// watch reads what comes until every connection has ended or stalled.
func (c *crowd) watch(poll int, members map[int32]*member) {
	ready := make([]syscall.EpollEvent, mostReady)
	buffer := make([]byte, 64<<10)
	for len(members) > 0 && !c.leaving.Load() {
		count, err := syscall.EpollWait(poll, ready, lookFor)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
		for i := range max(count, 0) {
			m := members[ready[i].Fd]
			if m == nil {
				continue
			}
			held := copy(buffer, m.held)
			n, err := syscall.Read(m.file, buffer[held:])
			if errors.Is(err, syscall.EAGAIN) {
				continue
			}
			gone := err != nil || n <= 0
			if !gone {
				m.held = append(m.held[:0], c.take(m, buffer[:held+n])...)
			}
			if gone || m.stalled.Load() {
				if gone {
					c.seen.lost.Add(1)
				}
				delete(members, ready[i].Fd)
				_ = syscall.EpollCtl(poll, syscall.EPOLL_CTL_DEL, m.file, nil)
			}
		}
	}
}
