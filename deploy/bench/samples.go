package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime"
	"sort"
	"strings"
	"time"
)

// samples are measured values, in seconds unless the unit says otherwise.
type samples struct {
	values []float64
	unit   string
	more   bool // is better: the p95 is then what 95 of 100 samples reach
}

func (s *samples) add(d time.Duration) { s.values = append(s.values, d.Seconds()) }

func (s *samples) last() float64 { return s.values[len(s.values)-1] }

// quantile formats the q-quantile.
func (s samples) quantile(q float64) string {
	if len(s.values) == 0 {
		return "-"
	}
	if s.more {
		q = 1 - q
	}
	v := s.at(q)
	switch {
	case s.unit == "×":
		return fmt.Sprintf("%.2f×", v)
	case s.unit != "":
		return fmt.Sprintf("%.0f %s", v, s.unit)
	case v < 1:
		return fmt.Sprintf("%.1f ms", v*1000)
	}
	return fmt.Sprintf("%.2f s", v)
}

// machine describes what the figures were measured on.
func machine() string {
	var cpu, mem, kernel string
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == "model name" {
				cpu = strings.TrimSpace(v)
			}
		}
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		mem = strings.Join(strings.Fields(strings.SplitN(string(data), "\n", 2)[0])[1:], " ")
	}
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(data))
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%d × %s, %s memory, Linux %s, %s; load at start %s", runtime.NumCPU(), cpu, mem, kernel, runtime.Version(), strings.Join(strings.Fields(string(load))[:3], " "))
}

// at is the q-quantile by the nearest-rank method, in the samples' unit.
func (s samples) at(q float64) float64 {
	sorted := append([]float64(nil), s.values...)
	sort.Float64s(sorted)
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
