package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// echoTimes is one round: how long each event took, the round, and the CPU
// time that the server used in it.
type echoTimes struct {
	took      samples
	wall, cpu time.Duration
}

// round sends events over keep-alive connections, each its next one when the
// last is answered, and compares every answer byte by byte. It asks one
// connection after the other without ever sleeping, so that no server spends
// its time on waking the sender.
func (s *echoServer) round(ctx context.Context, length time.Duration) (echoTimes, error) {
	connections := make([]*echoConnection, echoConnections)
	for k := range connections {
		c, err := s.dial(uint64(k) << 32)
		if err != nil {
			return echoTimes{}, err
		}
		defer c.close()
		connections[k] = c
	}
	before, err := s.cpu()
	if err != nil {
		return echoTimes{}, err
	}
	var round echoTimes
	begin := time.Now()
	end := begin.Add(length)
	for _, c := range connections {
		if err := c.send(); err != nil {
			return echoTimes{}, err
		}
	}
	for now := begin; now.Before(end); {
		for _, c := range connections {
			answered, err := c.receive()
			if err != nil {
				return echoTimes{}, err
			}
			now = time.Now()
			if !answered {
				continue
			}
			round.took.add(now.Sub(c.begin))
			if err := c.send(); err != nil {
				return echoTimes{}, err
			}
		}
	}
	after, err := s.cpu()
	if err != nil {
		return echoTimes{}, err
	}
	round.wall, round.cpu = time.Since(begin), after-before
	return round, ctx.Err()
}

// echoConnection has one event under way. It counts the ids up, so that an
// answer to another event is noticed.
type echoConnection struct {
	socket  int
	id      uint64
	request message
	want    answer
	got     []byte // as long as the answer
	read    int    // of it
	begin   time.Time
}

func (s *echoServer) dial(first uint64) (*echoConnection, error) {
	to, err := net.ResolveTCPAddr("tcp4", s.address)
	if err != nil {
		return nil, err
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	c := &echoConnection{socket: socket, id: first, request: newRequest(), want: s.answer.copy(), got: make([]byte, len(s.answer.bytes))}
	err = errors.Join(
		unix.Connect(socket, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}),
		unix.SetsockoptInt(socket, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetNonblock(socket, true))
	if err != nil {
		c.close()
		return nil, fmt.Errorf("connect to %s: %w", s.address, err)
	}
	return c, nil
}

func (c *echoConnection) close() { _ = unix.Close(c.socket) }

func (c *echoConnection) send() error {
	c.id++
	c.request.setID(c.id)
	c.want.setID(c.id)
	c.read, c.begin = 0, time.Now()
	n, err := unix.Write(c.socket, c.request.bytes)
	if err == nil && n < len(c.request.bytes) {
		err = io.ErrShortWrite
	}
	return err
}

// receive tells whether the whole answer is there.
func (c *echoConnection) receive() (bool, error) {
	n, err := unix.Read(c.socket, c.got[c.read:])
	if errors.Is(err, unix.EAGAIN) {
		return false, nil
	}
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return false, fmt.Errorf("after %q: %w", c.got[:c.read], err)
	}
	if c.read += n; c.read < len(c.got) {
		return false, nil
	}
	copy(c.got[c.want.date:c.want.date+dateLength], c.want.bytes[c.want.date:])
	if !bytes.Equal(c.got, c.want.bytes) {
		return false, fmt.Errorf("event %x was answered with %q, want %q", c.id, c.got, c.want.bytes)
	}
	return true, nil
}
