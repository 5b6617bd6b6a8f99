package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// raised are settings of the whole machine that must be at least this high.
var raised = map[string]int{
	"net/ipv4/ip_forward":           1,
	"fs/inotify/max_user_instances": 1024,
	"fs/inotify/max_user_watches":   524288,
}

// overwritten are settings that the kubelet sets itself.
var overwritten = []string{
	"vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// Raise writes down the present settings, once, and raises those that are too low.
func Raise(i instance.Instance) error {
	path := i.Path("machine-settings.json")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		before := map[string]string{}
		for key := range raised {
			before[key] = read(key)
		}
		for _, key := range overwritten {
			before[key] = read(key)
		}
		data, err := json.Marshal(before)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return fmt.Errorf("write down kernel settings: %w", err)
		}
	}
	for key, want := range raised {
		if have, err := strconv.Atoi(read(key)); err == nil && have < want {
			if err := os.WriteFile("/proc/sys/"+key, []byte(strconv.Itoa(want)), 0o644); err != nil {
				return fmt.Errorf("raise kernel setting %s from %d to %d: %w", key, have, want, err)
			}
		}
	}
	return nil
}

// Restore puts back the settings that Raise wrote down.
func Restore(i instance.Instance) error {
	data, err := os.ReadFile(i.Path("machine-settings.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var before map[string]string
	if err := json.Unmarshal(data, &before); err != nil {
		return fmt.Errorf("read kernel settings to restore: %w", err)
	}
	var errs []error
	for key, value := range before {
		if value == "" || read(key) == value {
			continue
		}
		if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("restore kernel setting %s: %w", key, err))
		}
	}
	return errors.Join(errs...)
}

func read(key string) string {
	data, err := os.ReadFile("/proc/sys/" + key)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
