package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// echoTimes is one round: how long each event took, the round, and the CPU
// time that the server used in it.
type echoTimes struct {
	took      samples
	wall, cpu time.Duration
}

// round sends events over keep-alive connections, each its next one when the
// last is answered, and compares every answer byte by byte.
func (s *echoServer) round(ctx context.Context, length time.Duration) (echoTimes, error) {
	connections := make([]net.Conn, echoConnections)
	for k := range connections {
		var err error
		if connections[k], err = (&net.Dialer{}).DialContext(ctx, "tcp", s.address); err != nil {
			return echoTimes{}, err
		}
		defer connections[k].Close()
	}
	took := make([]samples, echoConnections)
	errs := make([]error, echoConnections)
	cpu, err := s.cpu()
	if err != nil {
		return echoTimes{}, err
	}
	var wg sync.WaitGroup
	begin := time.Now()
	for k, c := range connections {
		wg.Go(func() { errs[k] = s.send(c, uint64(k)<<32, begin.Add(length), &took[k]) })
	}
	wg.Wait()
	round := echoTimes{wall: time.Since(begin)}
	used, err := s.cpu()
	if err != nil {
		return echoTimes{}, err
	}
	round.cpu = used - cpu
	for k := range connections {
		if errs[k] != nil {
			return echoTimes{}, errs[k]
		}
		round.took.values = append(round.took.values, took[k].values...)
	}
	return round, ctx.Err()
}

// send counts the ids up from first, so that an answer to another event is
// noticed.
func (s *echoServer) send(c net.Conn, first uint64, end time.Time, took *samples) error {
	if err := c.SetDeadline(end.Add(10 * time.Second)); err != nil {
		return err
	}
	request, want := newRequest(), s.answer.copy()
	got := make([]byte, len(want.bytes))
	begin := time.Now()
	for id := first; begin.Before(end); id++ {
		request.setID(id)
		want.setID(id)
		if _, err := c.Write(request.bytes); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got); err != nil {
			return fmt.Errorf("%w after %q", err, got)
		}
		now := time.Now()
		took.add(now.Sub(begin))
		begin = now
		copy(got[want.date:], want.bytes[want.date:want.date+dateLength])
		if !bytes.Equal(got, want.bytes) {
			return fmt.Errorf("event %x was answered with %q, want %q", id, got, want.bytes)
		}
	}
	return nil
}
