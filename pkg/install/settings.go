package install

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// After is what becomes of a machine that has been installed.
type After string

// What may become of it.
const (
	Reboot   After = "reboot"
	PowerOff After = "poweroff"
	Nothing  After = "nothing"
)

// Settings are rancheros.install of a machine's cloud-config. The names are those that ros-installer knew.
type Settings struct {
	// Device is the disk that may be erased, such as /dev/sda or /dev/disk/by-id/...; empty when none is named.
	Device string
	// Installer is the program to call in place of those that are known.
	Installer string
	// Force installs over an installation that is there.
	Force bool
	// After is Reboot unless powerOff is true, or reboot is false.
	After After

	// What the known installers are told: where the OS comes from, and how it is put on the disk.
	ISOURL, SystemURI, TTY    string
	NoFormat, ForceEFI, Debug bool

	// Ignored are the keys that mean nothing here, sorted.
	Ignored []string
}

// ReadSettings takes rancheros.install out of the cloud-config that the server has sent. Keys are matched as ros-installer
// matched them: without regard to case, dashes and underscores. The error is a *Refusal.
func ReadSettings(config map[string]any) (Settings, error) {
	settings := Settings{After: Reboot}
	var err error
	for _, name := range []string{"rancheros", "install"} {
		if config, err = section(config, name); err != nil {
			return settings, err
		}
	}
	var reboot, powerOff bool
	fields := map[string]any{
		"device": &settings.Device, "installer": &settings.Installer, "force": &settings.Force, "poweroff": &powerOff, "reboot": &reboot,
		"isourl": &settings.ISOURL, "systemuri": &settings.SystemURI, "containerimage": &settings.SystemURI, "tty": &settings.TTY,
		"noformat": &settings.NoFormat, "forceefi": &settings.ForceEFI, "debug": &settings.Debug,
		// The server always sets automatic: a machine that asks wants to be installed.
		"automatic": new(bool), "registrationurl": new(string), "registrationcacert": new(string),
	}
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		name := normalize(key)
		if seen[name] {
			return settings, badSetting(key, "is there in two spellings")
		}
		seen[name] = true
		if fields[name] == nil {
			settings.Ignored = append(settings.Ignored, key)
		} else if err := put(fields[name], key, config[key]); err != nil {
			return settings, err
		}
	}
	switch {
	case reboot && powerOff:
		return settings, badSetting("powerOff", "and reboot are both true; keep one")
	case powerOff:
		settings.After = PowerOff
	case seen["reboot"] && !reboot:
		settings.After = Nothing
	}
	return settings, nil
}

// put stores a value in a *string or a *bool.
func put(field any, key string, value any) error {
	if value == nil {
		return nil
	}
	switch field := field.(type) {
	case *bool:
		flag, ok := value.(bool)
		if !ok {
			return badSetting(key, "must be true or false")
		}
		*field = flag
	case *string:
		text, ok := value.(string)
		if !ok || strings.ContainsFunc(text, func(r rune) bool { return r == 0 || r == '\n' && !strings.HasPrefix(text, "-----BEGIN") }) {
			return badSetting(key, "must be one line of text")
		}
		*field = strings.TrimSpace(text)
	}
	return nil
}

// section is the map at a key; nil when there is none.
func section(config map[string]any, name string) (map[string]any, error) {
	var found any
	count := 0
	for key, value := range config {
		if normalize(key) == name && value != nil {
			found = value
			count++
		}
	}
	inner, ok := found.(map[string]any)
	switch {
	case count > 1:
		return nil, badSetting(name, "is there in two spellings")
	case count == 1 && !ok:
		return nil, badSetting(name, "must be a map")
	}
	return inner, nil
}

func normalize(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
}

func badSetting(key, problem string) error {
	if key != "rancheros" && key != "install" {
		key = "rancheros.install." + key
	}
	return &Refusal{Reason: BadSettings, Message: fmt.Sprintf("this machine's cloud-config cannot be used: %s %s", key, problem),
		Hint: "correct spec.cloudConfig of the machineregistration, and start this machine again"}
}
