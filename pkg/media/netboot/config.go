package netboot

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Config is the server's one file, in YAML. What it does not know is refused.
type Config struct {
	// Interfaces are the names of those to answer on; empty for all that are up and have an IPv4 address.
	Interfaces []string `yaml:"interfaces"`
	// Registrations are what machines boot into. One may be for all machines that no other is for.
	Registrations []*Registration `yaml:"registrations"`
	// Only, unless empty, are the machines to answer, by MAC address or SMBIOS UUID; Never are those not to answer.
	Only  []string `yaml:"only"`
	Never []string `yaml:"never"`
	// CAFile holds, in PEM, who vouches for the servers that the registrations' addresses name; without it, the system's CAs do.
	CAFile string `yaml:"caFile"`
	// AllowHTTP accepts addresses without TLS: nothing then proves whose kernel the machines boot.
	AllowHTTP bool `yaml:"allowHTTP"`
	// HTTPPort is where machines get scripts, kernels, initrds and ISOs; 8080 by default.
	HTTPPort int `yaml:"httpPort"`
	// StatusAddress is where `netboot status` asks, host:port; 127.0.0.1:8067 by default.
	StatusAddress string `yaml:"statusAddress"`
	// NoticeOthers listens for other netboot servers on the segment; true by default. It binds port 68 of the
	// broadcast address, beside a DHCP client.
	NoticeOthers *bool `yaml:"noticeOthers"`
	// IPXE says where iPXE's binaries are.
	IPXE IPXE `yaml:"ipxe"`
	// Ports are other ones than firmware knows: for tests, and where something in front moves packets.
	Ports Ports `yaml:"ports"`

	only, never machineSet
	roots       *x509.CertPool
}

// IPXE names the binaries that firmware is given.
type IPXE struct {
	// Folder has them; /usr/lib/ipxe by default, as of Debian's package ipxe.
	Folder string `yaml:"folder"`
	// BIOS and UEFI are the names of files in it; undionly.kpxe and snponly.efi by default.
	BIOS string `yaml:"bios"`
	UEFI string `yaml:"uefi"`
}

// Ports are UDP ports; 0 for the usual one.
type Ports struct {
	// DHCP is where machines ask, 67, and Client where they are answered, 68.
	DHCP   int `yaml:"dhcp"`
	Client int `yaml:"client"`
	// Proxy is where UEFI asks again, 4011.
	Proxy int `yaml:"proxy"`
	// TFTP is 69.
	TFTP int `yaml:"tftp"`
}

// Registration is what some of the machines boot: the addresses of one SeedImage, and whom it is for.
type Registration struct {
	// Name is for logs and the status.
	Name string `yaml:"name"`
	// IPXEURL is the SeedImage's status.ipxeURL: for BIOS, UEFI with PXE, and iPXE.
	IPXEURL string `yaml:"ipxeURL"`
	// DownloadURL is its status.downloadURL: for UEFI with HTTP boot.
	DownloadURL string `yaml:"downloadURL"`
	// Machines and Subnets say whom it is for; without both, it is for all others. A machine's UUID goes before its MAC
	// address, that before the longest subnet.
	Machines []string `yaml:"machines"`
	Subnets  []string `yaml:"subnets"`

	machines machineSet
	subnets  []netip.Prefix
}

// maxConfig bounds the file: ten thousand machines fit.
const maxConfig = 4 << 20

// Load reads the file. The error names all that is wrong with it, a line each.
func Load(file string) (*Config, error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading the config: %w", err)
	}
	defer opened.Close()
	body, err := io.ReadAll(io.LimitReader(opened, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("reading the config: %w", err)
	}
	if len(body) > maxConfig {
		return nil, fmt.Errorf("the config %s is larger than %d MiB", file, maxConfig>>20)
	}
	config, err := Parse(body)
	if err != nil {
		return nil, fmt.Errorf("the config %s cannot be used:\n%w", file, err)
	}
	return config, nil
}

// Parse reads a config, and the files that it names.
func Parse(body []byte) (*Config, error) {
	config := &Config{}
	decoder := yaml.NewDecoder(strings.NewReader(string(body)))
	decoder.KnownFields(true)
	err := decoder.Decode(config)
	var fields *yaml.TypeError
	if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &fields) {
		return nil, err // It is no YAML.
	}
	var second error
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		second = errors.New("there is more than one document in it; keep one")
	}
	config.setDefaults()
	if err := errors.Join(inOurWords(fields), second, config.validate()); err != nil {
		return nil, err
	}
	return config, nil
}

var goType = regexp.MustCompile(`field (\S+) not found in type \S+`)

// inOurWords makes one error per line of what the YAML library says, without the names of our types.
func inOurWords(fields *yaml.TypeError) error {
	if fields == nil {
		return nil
	}
	var all []error
	for _, text := range fields.Errors {
		all = append(all, errors.New(goType.ReplaceAllString(text, "there is no field $1 here")))
	}
	return errors.Join(all...)
}

func (c *Config) setDefaults() {
	for _, field := range []struct {
		value *string
		usual string
	}{{&c.StatusAddress, DefaultStatusAddress}, {&c.IPXE.Folder, "/usr/lib/ipxe"}, {&c.IPXE.BIOS, "undionly.kpxe"}, {&c.IPXE.UEFI, "snponly.efi"}} {
		if *field.value == "" {
			*field.value = field.usual
		}
	}
	for _, port := range []struct {
		value *int
		usual int
	}{
		{&c.HTTPPort, 8080}, {&c.Ports.DHCP, portDHCPServer}, {&c.Ports.Client, portDHCPClient}, {&c.Ports.Proxy, portProxy}, {&c.Ports.TFTP, portTFTP},
	} {
		if *port.value == 0 {
			*port.value = port.usual
		}
	}
	if c.NoticeOthers == nil {
		yes := true
		c.NoticeOthers = &yes
	}
}

// validate reads what is written as text, and returns all that is wrong, each with its field.
func (c *Config) validate() error {
	p := &problems{}
	for i, name := range c.Interfaces {
		if strings.TrimSpace(name) == "" {
			p.add(fmt.Sprintf("interfaces[%d]", i), "is empty; write a name as `ip link` shows it")
		}
	}
	for _, port := range []struct {
		field string
		value int
	}{{"httpPort", c.HTTPPort}, {"ports.dhcp", c.Ports.DHCP}, {"ports.client", c.Ports.Client}, {"ports.proxy", c.Ports.Proxy}, {"ports.tftp", c.Ports.TFTP}} {
		if port.value < 1 || port.value > 65535 {
			p.add(port.field, "must be 1 to 65535, not %d", port.value)
		}
	}
	if _, err := net.ResolveTCPAddr("tcp", c.StatusAddress); err != nil {
		p.add("statusAddress", "must be host:port, not %q", c.StatusAddress)
	}
	c.only, c.never = p.machines("only", c.Only), p.machines("never", c.Never)
	c.validateIPXE(p)
	c.validateCA(p)
	c.validateRegistrations(p)
	return errors.Join(p.all...)
}

func (c *Config) validateIPXE(p *problems) {
	needed := false
	for _, registration := range c.Registrations {
		needed = needed || registration != nil && registration.IPXEURL != ""
	}
	for _, binary := range []struct{ field, name string }{{"ipxe.bios", c.IPXE.BIOS}, {"ipxe.uefi", c.IPXE.UEFI}} {
		if filepath.Base(binary.name) != binary.name || len(binary.name) > 100 {
			p.add(binary.field, "must be the name of a file in ipxe.folder, not %q", binary.name)
			continue
		}
		if !needed {
			continue
		}
		info, err := os.Stat(filepath.Join(c.IPXE.Folder, binary.name))
		switch {
		case err != nil:
			p.add(binary.field, "%v; install iPXE's binaries (on Debian: apt-get install ipxe), or name their folder in ipxe.folder", err)
		case !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > maxBinary:
			p.add(binary.field, "%s must be a file of at most %d MiB that is not empty", filepath.Join(c.IPXE.Folder, binary.name), maxBinary>>20)
		}
	}
}

func (c *Config) validateCA(p *problems) {
	if c.CAFile == "" {
		return
	}
	body, err := os.ReadFile(c.CAFile)
	if err != nil {
		p.add("caFile", "%v", err)
		return
	}
	c.roots = x509.NewCertPool()
	if !c.roots.AppendCertsFromPEM(body) {
		p.add("caFile", "%s holds no certificate in PEM", c.CAFile)
	}
}

func (c *Config) validateRegistrations(p *problems) {
	if len(c.Registrations) == 0 {
		p.add("registrations", "must have at least one entry, with a name and the ipxeURL or downloadURL of a SeedImage")
	}
	names, machines, subnets := map[string]string{}, map[string]string{}, map[netip.Prefix]string{}
	others := ""
	for i, registration := range c.Registrations {
		field := fmt.Sprintf("registrations[%d]", i)
		if registration == nil {
			p.add(field, "is empty")
			continue
		}
		registration.validate(p, field, c.AllowHTTP)
		if other, taken := names[registration.Name]; taken {
			p.add(field+".name", "is that of %s, too", other)
		}
		names[registration.Name] = field
		for _, machine := range registration.machines.keys() {
			if other, taken := machines[machine]; taken && other != field {
				p.add(field+".machines", "has %s, as %s has: a machine boots into one registration", machine, other)
			}
			machines[machine] = field
		}
		for _, subnet := range registration.subnets {
			if other, taken := subnets[subnet]; taken && other != field {
				p.add(field+".subnets", "has %s, as %s has", subnet, other)
			}
			subnets[subnet] = field
		}
		if registration.forAll() {
			if others != "" {
				p.add(field, "is for all machines, as %s is: give one of them machines or subnets", others)
			}
			others = field
		}
	}
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62})$`)

func (r *Registration) validate(p *problems, field string, allowHTTP bool) {
	if !plainName.MatchString(r.Name) {
		p.add(field+".name", "must be 1 to 63 letters, digits, dots, dashes and underscores, not %q", r.Name)
	}
	if r.IPXEURL == "" && r.DownloadURL == "" {
		p.add(field, "must have ipxeURL, downloadURL or both, from the status of a SeedImage")
	}
	p.address(field+".ipxeURL", r.IPXEURL, ".ipxe", allowHTTP)
	p.address(field+".downloadURL", r.DownloadURL, ".iso", allowHTTP)
	r.machines = p.machines(field+".machines", r.Machines)
	for i, text := range r.Subnets {
		subnet, err := netip.ParsePrefix(text)
		if err != nil || !subnet.Addr().Is4() {
			p.add(fmt.Sprintf("%s.subnets[%d]", field, i), "must be an IPv4 network such as 10.1.2.0/24, not %q", text)
			continue
		}
		r.subnets = append(r.subnets, subnet.Masked())
	}
}

func (r *Registration) forAll() bool { return len(r.Machines) == 0 && len(r.Subnets) == 0 }

// problems gathers what is wrong.
type problems struct{ all []error }

func (p *problems) add(field, format string, args ...any) {
	p.all = append(p.all, fmt.Errorf("%s %s", field, fmt.Sprintf(format, args...)))
}

// address checks a SeedImage's address. It is a secret, so it is not repeated.
func (p *problems) address(field, text, ending string, allowHTTP bool) {
	if text == "" {
		return
	}
	parsed, err := url.Parse(text)
	switch {
	case err != nil || parsed.Host == "" || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "":
		p.add(field, "must be the address in the status of a SeedImage, as it is there")
	case parsed.Scheme == "http" && !allowHTTP:
		p.add(field, "must begin with https://: nothing else proves whose kernel the machines boot (allowHTTP: true accepts it)")
	case parsed.Scheme != "https" && parsed.Scheme != "http":
		p.add(field, "must begin with https://")
	case path.Ext(parsed.Path) != ending:
		p.add(field, "must end in %s, as the address in the status of a SeedImage does", ending)
	}
}

// machines reads MAC addresses and UUIDs.
func (p *problems) machines(field string, texts []string) machineSet {
	set := machineSet{macs: map[MAC]bool{}, uuids: map[UUID]bool{}}
	for i, text := range texts {
		if mac, err := ParseMAC(text); err == nil {
			set.macs[mac] = true
		} else if uuid, err := ParseUUID(text); err == nil {
			set.uuids[uuid] = true
		} else {
			p.add(fmt.Sprintf("%s[%d]", field, i), "must be a MAC address such as 52:54:00:12:34:56, or an SMBIOS UUID as dmidecode prints it, not %q", text)
		}
	}
	return set
}
