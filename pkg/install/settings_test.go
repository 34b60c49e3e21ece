package install

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func config(install any) map[string]any {
	return map[string]any{"rancheros": map[string]any{"install": install}, "users": []any{}}
}

func TestReadSettings(t *testing.T) {
	for _, c := range []struct {
		why    string
		config map[string]any
		want   Settings
	}{
		{"nothing", nil, Settings{After: Reboot}},
		{"nothing of ours", config(nil), Settings{After: Reboot}},
		{"the quick start", config(map[string]any{"device": "/dev/nvme0n1", "automatic": true}), Settings{Device: "/dev/nvme0n1", After: Reboot}},
		{"other spellings", config(map[string]any{"Device": " /dev/sda ", "iso_url": "https://m/os.iso", "no-format": true, "powerOff": true}),
			Settings{Device: "/dev/sda", ISOURL: "https://m/os.iso", NoFormat: true, After: PowerOff}},
		{"all the rest", config(map[string]any{"systemUri": "docker:r/os:1", "tty": "ttyS0", "forceEFI": true, "debug": true, "force": true, "installer": "/usr/bin/mine", "registrationCaCert": "-----BEGIN\nx\n"}),
			Settings{SystemURI: "docker:r/os:1", TTY: "ttyS0", ForceEFI: true, Debug: true, Force: true, Installer: "/usr/bin/mine", After: Reboot}},
		{"stay", config(map[string]any{"reboot": false}), Settings{After: Nothing}},
		{"reboot", config(map[string]any{"reboot": true}), Settings{After: Reboot}},
		{"keys of others", config(map[string]any{"password": "x", "configUrl": "y"}), Settings{After: Reboot, Ignored: []string{"configUrl", "password"}}},
		{"null", config(map[string]any{"device": nil}), Settings{After: Reboot}},
	} {
		got, err := ReadSettings(c.config)
		require.NoError(t, err, c.why)
		require.Equal(t, c.want, got, c.why)
	}
	for says, bad := range map[string]map[string]any{
		"rancheros must be a map":                       {"rancheros": 7},
		"install must be a map":                         config("yes"),
		"rancheros.install.device must be one line":     config(map[string]any{"device": []any{"/dev/sda", "/dev/sdb"}}),
		"rancheros.install.tty must be one line":        config(map[string]any{"tty": "a\nb"}),
		"rancheros.install.force must be true or false": config(map[string]any{"force": "yes"}),
		"rancheros.install.device is there in two":      config(map[string]any{"device": "/dev/sda", "Device": "/dev/sdb"}),
		"rancheros is there in two":                     {"rancheros": map[string]any{}, "RancherOS": map[string]any{}},
		"powerOff and reboot are both true":             config(map[string]any{"powerOff": true, "reboot": true}),
	} {
		_, err := ReadSettings(bad)
		var refusal *Refusal
		require.ErrorAs(t, err, &refusal, says)
		require.Equal(t, BadSettings, refusal.Reason)
		require.Contains(t, refusal.Message, says)
	}
}

func TestCommand(t *testing.T) {
	target := Target{device: Device{Name: "sda"}}
	for _, c := range []struct {
		why      string
		has      []string
		settings Settings
		begun    bool
		want     []string
	}{
		{"cos-installer comes first", []string{"cos-installer", "elemental"}, Settings{}, false, []string{"/bin/cos-installer", "--config", "/c.yaml", "/dev/sda"}},
		{"cos-installer with everything", []string{"cos-installer"}, Settings{ISOURL: "https://i", SystemURI: "docker:r/os:1", TTY: "ttyS0", NoFormat: true, ForceEFI: true, Debug: true}, false,
			[]string{"/bin/cos-installer", "--config", "/c.yaml", "--iso", "https://i", "--docker-image", "r/os:1", "--tty", "ttyS0", "--no-format", "--force-efi", "--debug", "/dev/sda"}},
		{"elemental", []string{"elemental"}, Settings{}, false, []string{"/bin/elemental", "install", "--cloud-init", "/c.yaml", "/dev/sda"}},
		{"elemental with everything", []string{"elemental"}, Settings{ISOURL: "https://i", SystemURI: "docker:r/os:1", TTY: "ttyS0", NoFormat: true, ForceEFI: true, Debug: true, Force: true}, false,
			[]string{"/bin/elemental", "--debug", "install", "--cloud-init", "/c.yaml", "--iso", "https://i", "--system.uri", "docker:r/os:1", "--tty", "ttyS0", "--no-format", "--firmware", "efi", "--force", "/dev/sda"}},
		{"elemental over its own half installation", []string{"elemental"}, Settings{}, true, []string{"/bin/elemental", "install", "--cloud-init", "/c.yaml", "--force", "/dev/sda"}},
		{"one that is named", []string{"mine", "elemental"}, Settings{Installer: "mine"}, false, []string{"/bin/mine", "/dev/sda", "/c.yaml"}},
		{"none", nil, Settings{}, false, nil},
		{"one that is named and missing", []string{"elemental"}, Settings{Installer: "mine"}, false, nil},
	} {
		find := func(program string) (string, error) {
			for _, has := range c.has {
				if has == program {
					return "/bin/" + has, nil
				}
			}
			return "", &exec.Error{Name: program, Err: exec.ErrNotFound}
		}
		target.unfinished = c.begun
		command, err := c.settings.Command(target, "/c.yaml", find)
		if c.want == nil {
			var refusal *Refusal
			require.True(t, errors.As(err, &refusal), c.why)
			require.Equal(t, NoInstaller, refusal.Reason, c.why)
			continue
		}
		require.NoError(t, err, c.why)
		require.Equal(t, c.want, append([]string{command.Path}, command.Args...), c.why)
		require.Equal(t, c.settings.Installer != "", len(command.Env) == 2, c.why)
	}
}
