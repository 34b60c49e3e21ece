package netboot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	ipxeURL     = "https://rancher.example.com/v1-rancheros/seedimage/secret-token/boot.ipxe"
	downloadURL = "https://rancher.example.com/v1-rancheros/seedimage/secret-token/usb.iso"
)

// binaries is a folder with iPXE's binaries, as far as a server looks at them.
func binaries(t testing.TB) string { return folderWith(t, "undionly.kpxe", "snponly.efi") }

// folderWith holds files of odd sizes: the first has 70001 bytes, the second 170002.
func folderWith(t testing.TB, names ...string) string {
	t.Helper()
	folder := t.TempDir()
	for n, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(strings.Repeat(name[:1], 70_001+n*100_001)), 0o600))
	}
	return folder
}

// configOf is a config of the text, with iPXE in a folder of its own.
func configOf(t *testing.T, text string) *Config {
	t.Helper()
	config, err := Parse([]byte("ipxe: {folder: " + binaries(t) + "}\n" + text))
	require.NoError(t, err)
	return config
}

func TestConfigDefaults(t *testing.T) {
	config := configOf(t, "registrations:\n- {name: edge, ipxeURL: '"+ipxeURL+"'}\n")
	require.Equal(t, 8080, config.HTTPPort)
	require.Equal(t, "127.0.0.1:8067", config.StatusAddress)
	require.True(t, *config.NoticeOthers)
	require.Equal(t, "undionly.kpxe", config.IPXE.BIOS)
	require.Equal(t, "snponly.efi", config.IPXE.UEFI)
	require.True(t, config.Registrations[0].forAll())
	// Who boots ISOs only needs no iPXE.
	_, err := Parse([]byte("ipxe: {folder: /nowhere}\nregistrations: [{name: edge, downloadURL: '" + downloadURL + "'}]"))
	require.NoError(t, err)
}

// All that is wrong is said at once, each with its field, and no address is repeated: there is a token in it.
func TestConfigProblems(t *testing.T) {
	folder := binaries(t)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "empty.efi"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ca.pem"), []byte("not PEM"), 0o600))
	const good = "registrations: [{name: edge, ipxeURL: '" + ipxeURL + "'}]"
	for _, c := range []struct {
		why, text string
		want      []string
	}{
		{"nothing at all", "", []string{"registrations must have at least one entry"}},
		{"no YAML", "a: [", []string{"yaml:"}},
		{"two documents", good + "\n---\n" + good, []string{"more than one document"}},
		{"fields that are none", "interface: eth0\nregistrations: [{name: edge, ipxeUrl: x}]", []string{
			"line 3: there is no field interface here", "line 4: there is no field ipxeUrl here", "registrations[0] must have ipxeURL, downloadURL or both"}},
		{"a text for a list", "only: 3\n" + good, []string{"line 3: cannot unmarshal !!int `3` into []string"}},
		{"empty entries", "registrations: [null]\ninterfaces: ['']", []string{"registrations[0] is empty", "interfaces[0] is empty"}},
		{"ports and addresses", "httpPort: 99999\nstatusAddress: here\n" + good, []string{"httpPort must be 1 to 65535, not 99999", `statusAddress must be host:port, not "here"`}},
		{"machines that are none", "only: [x, '52:54:00:12:34']\nnever: ['4c4c4544-0042-4210-8051']\n" + good, []string{`only[0] must be a MAC`, `only[1]`, `never[0]`}},
		{"names", "registrations: [{name: 'a b', ipxeURL: '" + ipxeURL + "'}]", []string{`registrations[0].name must be 1 to 63 letters`}},
		{"addresses", `registrations:
- {name: a, ipxeURL: 'http://rancher.example.com/secret-token/boot.ipxe', machines: ['52:54:00:00:00:01']}
- {name: b, ipxeURL: 'ftp://rancher.example.com/secret-token/boot.ipxe', machines: ['52:54:00:00:00:02']}
- {name: c, ipxeURL: '` + downloadURL + `', machines: ['52:54:00:00:00:03']}
- {name: d, downloadURL: 'https://u:p@rancher.example.com/secret-token/a.iso', machines: ['52:54:00:00:00:04']}
- {name: e, downloadURL: 'https:secret-token.iso', machines: ['52:54:00:00:00:05']}
`, []string{
			"registrations[0].ipxeURL must begin with https://: nothing else proves", "registrations[1].ipxeURL must begin with https://", "registrations[2].ipxeURL must end in .ipxe",
			"registrations[3].downloadURL must be the address in the status", "registrations[4].downloadURL must be the address in the status"}},
		{"two for the same", `registrations:
- {name: a, ipxeURL: '` + ipxeURL + `', machines: ['52-54-00-00-00-01'], subnets: [10.1.2.3/24]}
- {name: a, ipxeURL: '` + ipxeURL + `', machines: ['52:54:00:00:00:01'], subnets: [10.1.2.0/24]}
- {name: c, ipxeURL: '` + ipxeURL + `'}
- {name: d, ipxeURL: '` + ipxeURL + `'}
`, []string{"registrations[1].name is that of registrations[0]", "registrations[1].machines has 52:54:00:00:00:01, as registrations[0] has",
			"registrations[1].subnets has 10.1.2.0/24, as registrations[0] has", "registrations[3] is for all machines, as registrations[2] is"}},
		{"networks", "registrations: [{name: a, ipxeURL: '" + ipxeURL + "', subnets: [10.1.2.0, 'fd00::/8']}]", []string{"registrations[0].subnets[0] must be an IPv4 network", "registrations[0].subnets[1]"}},
		{"iPXE that is not there", "ipxe: {folder: " + folder + ", bios: nothing.kpxe, uefi: empty.efi}\n" + good, []string{"ipxe.bios", "apt-get install ipxe", "ipxe.uefi", "not empty"}},
		{"iPXE elsewhere", "ipxe: {folder: " + folder + ", uefi: ../passwd}\n" + good, []string{`ipxe.uefi must be the name of a file in ipxe.folder, not "../passwd"`}},
		{"a CA that is not there", "caFile: /nowhere\n" + good, []string{"caFile open /nowhere"}},
		{"a CA that is none", "caFile: " + folder + "/ca.pem\n" + good, []string{"holds no certificate in PEM"}},
	} {
		text := c.text
		if !strings.Contains(text, "ipxe:") {
			text = "# a\nipxe: {folder: " + folder + "}\n" + text
		}
		_, err := Parse([]byte(text))
		require.Error(t, err, c.why)
		for _, want := range c.want {
			require.ErrorContains(t, err, want, c.why)
		}
		require.NotContains(t, err.Error(), "secret-token", c.why)
		require.Len(t, strings.Split(err.Error(), "\n"), max(1, len(c.want)-strings.Count(strings.Join(c.want, " "), "apt-get")-strings.Count(strings.Join(c.want, " "), "not empty")), "%s: %v", c.why, err)
	}
}

func TestLoad(t *testing.T) {
	_, err := Load("/nowhere.yaml")
	require.ErrorIs(t, err, os.ErrNotExist)
	file := filepath.Join(t.TempDir(), "large.yaml")
	require.NoError(t, os.WriteFile(file, make([]byte, maxConfig+1), 0o600))
	_, err = Load(file)
	require.ErrorContains(t, err, "larger than 4 MiB")
	// The example that ships is a config.
	body, err := os.ReadFile("../../../cmd/rancheros-operator/systemd/netboot.yaml")
	require.NoError(t, err)
	_, err = Parse([]byte(strings.NewReplacer("caFile: ", "# caFile: ", "# ipxe:", "ipxe: {folder: "+binaries(t)+"} #").Replace(string(body))))
	require.NoError(t, err)
}
