package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

const (
	echoConnections = 16 // each sends its next event when the last is answered
	echoRound       = time.Second
	echoWarmUp      = 3 // rounds of each side before those that count
)

func (b *bench) measureEchoGo(ctx context.Context) ([]figure, error) {
	return b.measureEcho(ctx, goPairs)
}

func (b *bench) measureEchoNode(ctx context.Context) ([]figure, error) {
	return b.measureEcho(ctx, nodePairs)
}

// measureEcho sends the same event to functions of Knit's runtimes and of
// Google's functions-framework, in turns, each server on one core and the
// sender on another.
func (b *bench) measureEcho(ctx context.Context, build func(context.Context, string) ([]pair, error)) ([]figure, error) {
	if runtime.NumCPU() < 2 {
		return nil, fmt.Errorf("one core for the server and one for the sender are needed, this machine has %d", runtime.NumCPU())
	}
	dir, err := os.MkdirTemp("", "knit-bench-echo-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs, err := build(ctx, dir)
	if err != nil {
		return nil, err
	}
	release, err := senderOnCore(1)
	if err != nil {
		return nil, err
	}
	defer release()
	var figures []figure
	for _, p := range programs {
		more, err := b.compareEchoes(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.title, err)
		}
		figures = append(figures, more...)
	}
	return figures, nil
}

// pair is the same function behind two runtimes.
type pair struct {
	title, aim string
	ours       echoProgram
	peer       echoProgram
}

// side collects the rounds of one of a pair.
type side struct {
	server                 *echoServer
	rate, p50, p99, perCPU samples
}

func (b *bench) compareEchoes(ctx context.Context, p pair) ([]figure, error) {
	ours, peer := newSide(), newSide()
	for s, program := range map[*side]echoProgram{ours: p.ours, peer: p.peer} {
		var err error
		if s.server, err = startEcho(ctx, program); err != nil {
			return nil, err
		}
		defer s.server.stop()
	}
	ratio := samples{unit: "×", more: true}
	for n := range echoWarmUp + b.samples {
		turns := []*side{ours, peer}
		if n%2 == 1 {
			turns = []*side{peer, ours}
		}
		for _, s := range turns {
			took, err := s.server.round(ctx, echoRound)
			if err != nil {
				return nil, err
			}
			if n >= echoWarmUp {
				s.add(took)
			}
		}
		if n >= echoWarmUp {
			ratio.values = append(ratio.values, ours.rate.last()/peer.rate.last())
		}
	}
	figures := []figure{{p.title + ": Knit's requests per second, times those of the framework in the next round", p.aim, ratio}}
	figures = append(figures, ours.figures("Knit", "p99 not above the framework's")...)
	return append(figures, peer.figures("functions-framework", "")...), nil
}

func newSide() *side {
	rate := samples{unit: "/s", more: true}
	return &side{rate: rate, perCPU: rate}
}

func (s *side) add(r echoTimes) {
	s.rate.values = append(s.rate.values, float64(len(r.took.values))/r.wall.Seconds())
	s.perCPU.values = append(s.perCPU.values, float64(len(r.took.values))/r.cpu.Seconds())
	s.p50.values = append(s.p50.values, r.took.at(0.5))
	s.p99.values = append(s.p99.values, r.took.at(0.99))
}

func (s *side) figures(name, aim string) []figure {
	return []figure{
		{"– " + name + ": requests per second", "", s.rate},
		{"– " + name + ": requests per second of CPU time", "", s.perCPU},
		{"– " + name + ": median of a round", "", s.p50},
		{"– " + name + ": p99 of a round", aim, s.p99},
	}
}
