package machine

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// MaxAddresses bounds how many addresses a machine reports.
const MaxAddresses = 16

// Facts are what a machine reports about itself once it runs.
type Facts struct {
	Hostname  string   `json:"hostname,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	// OSImage is os-release's PRETTY_NAME, OSVersion its VERSION_ID.
	OSImage   string `json:"osImage,omitempty"`
	OSVersion string `json:"osVersion,omitempty"`
}

// ReadFacts reads the facts of the machine whose root folder is given. Addresses are those of this process's network.
func ReadFacts(root string) (Facts, error) {
	facts := Facts{Hostname: readHostname(root)}
	release := readOSRelease(root)
	facts.OSImage, facts.OSVersion = release["PRETTY_NAME"], release["VERSION_ID"]
	interfaces, err := net.Interfaces()
	if err != nil {
		return facts, fmt.Errorf("listing network interfaces: %w", err)
	}
	for _, link := range interfaces {
		if link.Flags&net.FlagUp == 0 || link.Flags&net.FlagLoopback != 0 || containerLink(link.Name) {
			continue
		}
		addresses, err := link.Addrs()
		if err != nil {
			continue
		}
		facts.Addresses = append(facts.Addresses, routable(addresses)...)
	}
	slices.Sort(facts.Addresses)
	facts.Addresses = slices.Compact(facts.Addresses)
	facts.Addresses = facts.Addresses[:min(len(facts.Addresses), MaxAddresses)]
	return facts, nil
}

// containerLink tells links that exist for Pods and containers: their addresses lead nobody to the machine.
func containerLink(name string) bool {
	for _, prefix := range []string{"veth", "cni", "flannel", "cali", "docker", "br-", "vxlan", "kube-", "cilium", "lxc", "nodelocaldns"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func routable(addresses []net.Addr) []string {
	var result []string
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			result = append(result, network.IP.String())
		}
	}
	return result
}

func readHostname(root string) string {
	if filepath.Clean(root) == "/" {
		if name, err := os.Hostname(); err == nil {
			return name
		}
	}
	data, err := readBounded(filepath.Join(root, "etc/hostname"), 1024)
	if err != nil {
		return ""
	}
	return cleanString(bytes.TrimSpace(data))
}

// readOSRelease reads KEY=value lines, quoted or not.
func readOSRelease(root string) map[string]string {
	values := map[string]string{}
	for _, path := range []string{"etc/os-release", "usr/lib/os-release"} {
		data, err := readBounded(filepath.Join(root, path), 64<<10)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			if !ok || strings.HasPrefix(name, "#") {
				continue
			}
			if unquoted, err := strconv.Unquote(value); err == nil {
				value = unquoted
			}
			values[name] = cut(cleanString([]byte(strings.Trim(value, `'"`))), 256)
		}
		return values
	}
	return values
}
