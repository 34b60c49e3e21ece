package client

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	pretend "github.com/rancher/rancheros-operator/tests/machine"
)

const address = "https://r.example.com/v1-rancheros/registration/x"

func caPEM(t testing.TB) string {
	t.Helper()
	maker, err := pretend.NewMakerCA("Pretend")
	require.NoError(t, err)
	return string(maker.RootPEM())
}

func parseSettings(content string) (*Settings, error) {
	settings := &Settings{Origins: map[string]string{}}
	return settings, settings.parse("f.yaml", []byte(content))
}

func TestParseSettings(t *testing.T) {
	ca := caPEM(t)
	indented := "      " + strings.ReplaceAll(strings.TrimSpace(ca), "\n", "\n      ")
	for _, c := range []struct{ id, why, content string }{
		{"-", "as the registration URL prints it", "#cloud-config\nrancheros:\n    install:\n        registrationURL: " + address + "\n"},
		{"-", "the spelling of the old installer", "rancheros:\n  install:\n    registrationUrl: " + address + "\n"},
		{"-", "any case, any underscores", "RancherOS:\n  Install:\n    registration_url: " + address + "\n"},
		{"-", "beside keys of others", "users:\n- name: x\nrancheros:\n  install:\n    device: /dev/sda\n    isoUrl: y\n    registrationURL: " + address + "\n"},
		{"G38", "no header", "rancheros: {install: {registrationURL: '" + address + "'}}"},
		{"G38", "CRLF", "#cloud-config\r\nrancheros:\r\n  install:\r\n    registrationURL: " + address + "\r\n"},
		{"-", "JSON is YAML", `{"rancheros":{"install":{"registrationURL":"` + address + `"}}}`},
		{"-", "an anchor", "a: &u " + address + "\nrancheros:\n  install:\n    registrationURL: *u\n"},
		{"-", "an empty CA is none", "rancheros:\n  install:\n    registrationURL: " + address + "\n    registrationCaCert: ''\n"},
	} {
		settings, err := parseSettings(c.content)
		require.NoError(t, err, "%s %s", c.id, c.why)
		require.Equal(t, address, settings.RegistrationURL, "%s %s", c.id, c.why)
		require.Equal(t, map[string]string{"registrationurl": "f.yaml"}, settings.Origins, "%s %s", c.id, c.why)
	}
	for why, cert := range map[string]string{"a block": "|\n" + indented, "G33: with \\n spelled out": "'" + strings.ReplaceAll(ca, "\n", `\n`) + "'"} {
		settings, err := parseSettings("rancheros:\n  install:\n    registrationCaCert: " + cert + "\n")
		require.NoError(t, err, why)
		require.Equal(t, ca, settings.RegistrationCA, why)
	}
	settings, err := parseSettings("rancherd:\n  server: https://r\n  token: tpm://\n  role: server\n")
	require.NoError(t, err)
	require.Equal(t, []string{"https://r", "tpm://", "server"}, []string{settings.Server, settings.Token, settings.Role})
}

func TestParseBadSettings(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for _, name := range []string{"b", "c", "d", "e", "f", "g", "h", "i"} {
		before := string(name[0] - 1)
		bomb += name + ": &" + name + " [" + strings.TrimRight(strings.Repeat("*"+before+",", 9), ",") + "]\n"
	}
	for _, c := range []struct{ id, why, content, message string }{
		{"G33", "not YAML", "rancheros: [", "line"},
		{"G33", "tabs", "rancheros:\n\tinstall: x\n", "line 2"},
		{"G33", "a key twice", "rancheros:\n  install:\n    registrationURL: a\n    registrationURL: b\n", "line 4"},
		{"G33", "a key twice in two spellings", "rancheros:\n  install:\n    registrationURL: a\n    registrationUrl: b\n", "line 4"},
		{"G33", "a section twice in two spellings", "rancheros: {}\nRancherOS: {}\n", "line 2"},
		{"G33", "a key twice elsewhere", "users: a\nusers: b\n", "line 2"},
		{"G33", "an alias bomb", bomb, "aliasing"},
		{"G33", "an unknown key like ours", "rancheros:\n  install:\n    registrationURI: a\n", "line 3"},
		{"G33", "a list", "rancheros:\n  install:\n    registrationURL: [x]\n", "line 3"},
		{"G33", "a number", "rancheros:\n  install:\n    registrationURL: 7\n", "line 3"},
		{"G33", "a section that is none", "rancheros:\n  install: yes please\n", "line 2"},
		{"G33", "a list at the top", "- a\n", "line 1"},
		{"G33", "a CA that is none", "rancheros:\n  install:\n    registrationCaCert: hello\n", "line 3"},
	} {
		_, err := parseSettings(c.content)
		require.ErrorContains(t, err, "f.yaml", "%s %s", c.id, c.why)
		require.ErrorContains(t, err, c.message, "%s %s", c.id, c.why)
	}
}

// G36, G37: files in their order, then the kernel command line; what was only found is skipped when it is broken.
func TestReadSettings(t *testing.T) {
	root := t.TempDir()
	write := func(path, content string) string {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	install := func(key, value string) string { return "rancheros: {install: {" + key + ": '" + value + "'}}\n" }
	write("run/initramfs/live/livecd-cloud-config.yaml", install("registrationURL", "medium"))
	write("oem/10.yaml", install("registrationURL", "oem 10"))
	last := write("oem/20.yaml", install("registrationURL", "oem 20"))
	write("oem/30.yaml", "rancheros: [")
	require.NoError(t, os.Mkdir(filepath.Join(root, "oem/40.yaml"), 0o755))
	require.NoError(t, os.Symlink("50.yaml", filepath.Join(root, "oem/50.yaml")))
	write("oem/60.yaml", strings.Repeat("#", 1<<20+1))

	settings, err := ReadSettings(root, nil)
	require.NoError(t, err)
	require.Equal(t, "oem 20", settings.RegistrationURL)
	require.Equal(t, last, settings.Origins["registrationurl"])
	require.Len(t, settings.Warnings, 4, "%v", settings.Warnings)

	write("proc/cmdline", "quiet rancheros.install.registration_url=\"from the kernel\" x=y rancherd.role=agent rancherd.server=s rancherd.token=t\n")
	settings, err = ReadSettings(root, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"from the kernel", "agent", "s", "t"}, []string{settings.RegistrationURL, settings.Role, settings.Server, settings.Token})
	require.Equal(t, "kernel command line", settings.Origins["registrationurl"])

	for why, path := range map[string]string{"missing": "/nowhere", "a folder": root, "broken": filepath.Join(root, "oem/30.yaml"), "too large": filepath.Join(root, "oem/60.yaml")} {
		_, err := ReadSettings(root, []string{path})
		var failure *Failure
		require.ErrorAs(t, err, &failure, "a file that was asked for: %s", why)
		require.Equal(t, CauseConfig, failure.Cause, why)
	}
	secret := write("secret.yaml", "rancherd: {token: a shared secret}\n")
	require.NoError(t, os.Chmod(secret, 0o644))
	settings, err = ReadSettings(root, []string{secret})
	require.NoError(t, err)
	require.Contains(t, settings.Warnings[0], "chmod 600", "G34")
	require.NotContains(t, settings.Warnings[0], "a shared secret")
}

func TestCommandLineCA(t *testing.T) {
	root, ca := t.TempDir(), caPEM(t)
	require.NoError(t, os.WriteFile(filepath.Join(root, "ca.pem"), []byte(ca), 0o600))
	for why, value := range map[string]string{
		"a path": "/ca.pem", "base64": base64.StdEncoding.EncodeToString([]byte(ca)), "in quotes, \\n spelled out": `"` + strings.ReplaceAll(ca, "\n", `\n`) + `"`,
	} {
		settings := &Settings{Origins: map[string]string{}}
		require.NoError(t, settings.parseCommandLine(root, "a rancheros.install.registration_ca_cert="+value+" b"), why)
		require.Equal(t, ca, settings.RegistrationCA, why)
	}
	for _, value := range []string{"/missing.pem", "!", "aGVsbG8="} {
		settings := &Settings{Origins: map[string]string{}}
		require.Error(t, settings.parseCommandLine(root, "rancheros.install.registration_ca_cert="+value), value)
	}
	require.Equal(t, []string{"a", "b=c d", "e"}, splitCommandLine(" a  b=\"c d\"\te\n"))
}

func FuzzParseSettings(f *testing.F) {
	f.Add("#cloud-config\nrancheros:\n  install:\n    registrationURL: https://x\n")
	f.Add("rancherd: {server: a, token: b, role: c}")
	f.Fuzz(func(t *testing.T, content string) {
		settings, err := parseSettings(content)
		if err == nil && settings.RegistrationURL != "" {
			_, _ = (&Endpoint{URL: settings.RegistrationURL}).ParseRegistrationURL()
		}
	})
}

func FuzzParseCommandLine(f *testing.F) {
	f.Add(`a rancheros.install.registration_url="x y" rancheros.install.registration_ca_cert=aGVsbG8=`)
	f.Fuzz(func(_ *testing.T, line string) {
		settings := &Settings{Origins: map[string]string{}}
		_ = settings.parseCommandLine("/nonexistent", line)
	})
}
