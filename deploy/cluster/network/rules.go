package network

import (
	"context"
	"fmt"

	"sigs.k8s.io/knftables"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// applyHostRules replaces the instance's firewall table on the machine: pods
// reach the outside by NAT; nobody outside reaches pods or services through
// the machine; pods do not reach services of the machine itself.
func applyHostRules(i instance.Instance) error {
	nft, err := knftables.New(knftables.InetFamily, i.Name)
	if err != nil {
		return fmt.Errorf("use nftables: %w; install the package nftables", err)
	}
	dev := i.HostDevice()
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("embedded Knit cluster")})
	tx.Delete(&knftables.Table{})
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("embedded Knit cluster")})
	chains := []knftables.Chain{
		{Name: "postrouting", Type: knftables.PtrTo(knftables.NATType), Hook: knftables.PtrTo(knftables.PostroutingHook), Priority: knftables.PtrTo(knftables.SNATPriority)},
		{Name: "forward", Type: knftables.PtrTo(knftables.FilterType), Hook: knftables.PtrTo(knftables.ForwardHook), Priority: knftables.PtrTo(knftables.FilterPriority)},
		{Name: "input", Type: knftables.PtrTo(knftables.FilterType), Hook: knftables.PtrTo(knftables.InputHook), Priority: knftables.PtrTo(knftables.FilterPriority)},
	}
	for k := range chains {
		tx.Add(&chains[k])
	}
	established := "ct state established,related accept"
	for _, r := range []knftables.Rule{
		{Chain: "postrouting", Rule: knftables.Concat("ip saddr", i.PodRange, "oifname !=", quote(dev), "masquerade")},
		{Chain: "forward", Rule: knftables.Concat("oifname", quote(dev), established)},
		{Chain: "forward", Rule: knftables.Concat("oifname", quote(dev), "drop")},
		{Chain: "input", Rule: knftables.Concat("iifname", quote(dev), established)},
		{Chain: "input", Rule: knftables.Concat("iifname", quote(dev), "meta l4proto icmp accept")},
		{Chain: "input", Rule: knftables.Concat("iifname", quote(dev), "drop")},
	} {
		tx.Add(&r)
	}
	if err := nft.Run(context.Background(), tx); err != nil {
		return fmt.Errorf("write firewall table %s: %w", i.Name, err)
	}
	return nil
}

func removeHostRules(i instance.Instance) error {
	nft, err := knftables.New(knftables.InetFamily, i.Name)
	if err != nil {
		return nil // without nft there is no table
	}
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if err := nft.Run(context.Background(), tx); err != nil {
		return fmt.Errorf("remove firewall table %s: %w", i.Name, err)
	}
	return nil
}

func quote(s string) string { return `"` + s + `"` }
