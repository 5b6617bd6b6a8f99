package network

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// Container engines such as Docker set the policy of iptables' FORWARD chain to
// drop, and a drop there is final, whatever other tables accept. Docker
// reserves the chain DOCKER-USER for rules of others.

// allowForwarding lets pods out where an iptables policy would drop their packets.
func allowForwarding(i instance.Instance) error {
	chain := droppingChain()
	if chain == "" {
		return nil
	}
	for _, rule := range forwardRules(i) {
		if iptables(append([]string{"-C", chain}, rule...)...) == nil {
			continue
		}
		if err := iptables(append([]string{"-I", chain}, rule...)...); err != nil {
			return fmt.Errorf("let pods out through iptables' chain %s: %w", chain, err)
		}
	}
	return nil
}

// disallowForwarding removes what allowForwarding added to either chain.
func disallowForwarding(i instance.Instance) {
	for _, chain := range []string{"DOCKER-USER", "FORWARD"} {
		for _, rule := range forwardRules(i) {
			for iptables(append([]string{"-C", chain}, rule...)...) == nil {
				if iptables(append([]string{"-D", chain}, rule...)...) != nil {
					break
				}
			}
		}
	}
}

// forwardRules accept what pods send, and the answers; what others send to pods
// is dropped by the instance's own table.
func forwardRules(i instance.Instance) [][]string {
	mark := []string{"-m", "comment", "--comment", "knit cluster " + i.Name, "-j", "ACCEPT"}
	return [][]string{
		append([]string{"-i", i.HostDevice()}, mark...),
		append([]string{"-o", i.HostDevice(), "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED"}, mark...),
	}
}

// droppingChain is where rules must stand to be asked before the drop, or ""
// when iptables drops nothing. Reading the rules makes no table.
func droppingChain() string {
	tables, err := exec.Command("nft", "list", "tables", "ip").Output()
	if err != nil || !bytes.Contains(tables, []byte("table ip filter\n")) {
		return ""
	}
	rules, err := exec.Command("nft", "list", "chain", "ip", "filter", "FORWARD").Output()
	if err != nil || !bytes.Contains(rules, []byte("policy drop")) {
		return ""
	}
	if exec.Command("nft", "list", "chain", "ip", "filter", "DOCKER-USER").Run() == nil {
		return "DOCKER-USER"
	}
	return "FORWARD"
}

func iptables(args ...string) error {
	out, err := exec.Command("iptables", append([]string{"-w", "5"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("iptables %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
