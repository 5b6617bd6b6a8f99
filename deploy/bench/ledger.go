package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ledger knows of every event when it was accepted and how often it came.
type ledger struct {
	mu       sync.Mutex
	accepted map[string]time.Time
	came     map[string]int
	latency  samples // from accepted to the first arrival
}

func newLedger() *ledger {
	return &ledger{accepted: map[string]time.Time{}, came: map[string]int{}}
}

// send notes an event before it is sent: it may come before the answer does.
func (l *ledger) send(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted[id] = time.Now()
}

// expect notes an event that others send, with the time for which it is planned.
func (l *ledger) expect(id string, planned time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted[id] = planned
}

// refuse takes an event back that was not accepted.
func (l *ledger) refuse(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.accepted, id)
}

func (l *ledger) receive(id string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.came[id]++
	if sent, known := l.accepted[id]; known && l.came[id] == 1 {
		l.latency.add(now.Sub(sent))
	}
}

// balance counts the accepted events by how often they came.
func (l *ledger) balance() (once, more, never int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.accepted {
		switch l.came[id] {
		case 0:
			never++
		case 1:
			once++
		default:
			more++
		}
	}
	return once, more, never
}

// settled waits until every accepted event has come, or none has come for the
// given time.
func (l *ledger) settled(ctx context.Context, patience time.Duration) error {
	last, since := -1, time.Now()
	for {
		once, more, never := l.balance()
		if never == 0 {
			return nil
		}
		if once+more != last {
			last, since = once+more, time.Now()
		}
		if time.Since(since) > patience {
			return nil
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// receiver is the subscriber of all triggers: a server of this process, so that
// one clock times both ends of a delivery, which listens in the network of the
// cluster, because pods open no connections to the machine.
type receiver struct {
	network string // name of the cluster's network namespace
	address string
	server  *http.Server

	mu     sync.Mutex
	ledger *ledger
}

// listen starts a server for what comes; without an address yet it chooses one.
func (r *receiver) listen(handler http.Handler) error {
	var listener net.Listener
	err := within(r.network, func() (err error) {
		address := r.address
		if address == "" {
			if address, err = addressOf("cni0"); err != nil {
				return err
			}
		}
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		return fmt.Errorf("listen for events: %w", err)
	}
	r.address = listener.Addr().String()
	r.server = &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = r.server.Serve(listener) }()
	return nil
}

// within calls a function in a network namespace. A socket stays in the
// namespace in which it was made.
func within(network string, do func() error) error {
	inside, err := os.Open(filepath.Join("/run/netns", network))
	if err != nil {
		return err
	}
	defer inside.Close()
	outside, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer outside.Close()
	runtime.LockOSThread()
	if err := unix.Setns(int(inside.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network of %s: %w", network, err)
	}
	err = do()
	if back := unix.Setns(int(outside.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// addressOf is the first address of a device, with any port.
func addressOf(device string) (string, error) {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return "", fmt.Errorf("find the bridge %s: %w", device, err)
	}
	addresses, err := link.Addrs()
	if err != nil || len(addresses) == 0 {
		return "", fmt.Errorf("the bridge %s has no address: %w", device, err)
	}
	host, _, err := net.ParseCIDR(addresses[0].String())
	return net.JoinHostPort(host.String(), "0"), err
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	l := r.ledger
	r.mu.Unlock()
	if l == nil {
		return
	}
	l.receive(request.Header.Get("Ce-Id"))
	w.WriteHeader(http.StatusAccepted)
}

// open starts a new ledger.
func (r *receiver) open() *ledger {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger = newLedger()
	return r.ledger
}
