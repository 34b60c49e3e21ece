package client

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxSettings bounds one cloud-config file.
const maxSettings = 1 << 20

// Settings is what this machine has been told about its server, by whatever told it last: cloud-config files in their order, then the
// kernel command line, then flags.
type Settings struct {
	// RegistrationURL and RegistrationCA are rancheros.install.registrationURL and .registrationCaCert. The CA is PEM.
	RegistrationURL string
	RegistrationCA  string
	// Server, Token and Role are rancherd's own: where the machine asks for its cluster, and with what.
	Server string
	Token  string
	Role   string

	// Origins tells for each setting found, by its name above, which file or source gave it.
	Origins map[string]string
	// Warnings are about files that were skipped or deserve a look.
	Warnings []string
}

// DefaultFiles is where cloud-configs are looked for below a root folder, the later ones winning: on the medium, in its initrd and where that has
// left it for the system, on the OEM partition, on the persistent one.
func DefaultFiles() []string {
	return []string{"run/initramfs/live/livecd-cloud-config.yaml", "rancheros/seed.yaml", "run/rancheros/seed.yaml", "oem/*.yaml", "oem/*.yml", "usr/local/cloud-config/*.yaml"}
}

// ReadSettings reads the given files, or the default ones of the machine whose root folder is given, and its kernel command line. A file that
// was asked for must be readable and right; one that was only found is skipped with a warning. The error is a *Failure.
func ReadSettings(root string, files []string) (*Settings, error) {
	settings := &Settings{Origins: map[string]string{}}
	for _, path := range files {
		if err := settings.readFile(path); err != nil {
			return nil, badConfig(err.Error(), "correct the file; `rancheros-register register --help` shows what it looks like")
		}
	}
	if len(files) == 0 {
		for _, pattern := range DefaultFiles() {
			found, _ := filepath.Glob(filepath.Join(root, pattern))
			for _, path := range found {
				if err := settings.readFile(path); err != nil {
					settings.warn("skipped: %v", err)
				}
			}
		}
	}
	if err := settings.readCommandLine(root); err != nil {
		return nil, badConfig(err.Error(), "correct the kernel command line")
	}
	return settings, nil
}

func (s *Settings) readFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	case info.Size() > maxSettings:
		return fmt.Errorf("%s has %d bytes, limit %d", path, info.Size(), maxSettings)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSettings+1))
	if err != nil {
		return err
	}
	before := s.Token
	if err := s.parse(path, data); err != nil {
		return err
	}
	if s.Token != before && s.Token != TPMToken && info.Mode()&(fs.ModePerm&0o044) != 0 {
		s.warn("%s holds a token and can be read by everybody: chmod 600 it", path)
	}
	return nil
}

// parse reads one cloud-config. Keys are matched as ros-installer matches them: without regard to case, dashes and underscores. Other
// keys belong to other programs; a key that begins like ours and is none is a mistake.
func (s *Settings) parse(path string, data []byte) error {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(document.Content) == 0 {
		return nil
	}
	// Decoding the whole finds duplicate keys and alias bombs anywhere, with their line.
	var whole any
	if err := document.Decode(&whole); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	top, err := members(document.Content[0])
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return errors.Join(
		s.section(path, top, []string{"rancheros", "install"}, "registration", map[string]*string{
			"registrationurl": &s.RegistrationURL, "registrationcacert": &s.RegistrationCA}),
		s.section(path, top, []string{"rancherd"}, "", map[string]*string{
			"server": &s.Server, "token": &s.Token, "role": &s.Role}),
	)
}

// section takes the wanted scalars out of a nested mapping, if it is there. Unknown keys that begin with prefix are refused.
func (s *Settings) section(path string, keys map[string]*yaml.Node, folders []string, prefix string, wanted map[string]*string) error {
	for _, folder := range folders {
		node := keys[folder]
		if node == nil || node.Tag == "!!null" {
			return nil
		}
		var err error
		if keys, err = members(node); err != nil {
			return fmt.Errorf("%s: %s: %w", path, folder, err)
		}
	}
	name := strings.Join(folders, ".")
	for key, node := range keys {
		target := wanted[key]
		if target == nil {
			if prefix != "" && strings.HasPrefix(key, prefix) {
				return fmt.Errorf("%s: line %d: %s has no key %q; known are registrationURL and registrationCaCert", path, node.Line, name, key)
			}
			continue
		}
		node = resolve(node)
		if node.Kind != yaml.ScalarNode || (node.Tag != "!!str" && node.Tag != "!!null") {
			return fmt.Errorf("%s: line %d: %s.%s is not a text", path, node.Line, name, key)
		}
		if node.Tag == "!!null" || node.Value == "" {
			continue
		}
		if err := s.set(key, node.Value, target, path); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, node.Line, err)
		}
	}
	return nil
}

func (s *Settings) set(key, value string, target *string, origin string) error {
	if key == "registrationcacert" {
		var err error
		if value, err = normalizeCA(value); err != nil {
			return err
		}
	}
	*target = value
	s.Origins[key] = origin
	return nil
}

// members are a mapping's values by normalised key. Two spellings of one key are refused: which one counts is anybody's guess.
func members(node *yaml.Node) (map[string]*yaml.Node, error) {
	node = resolve(node)
	if node.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: not a mapping", node.Line)
	}
	result := map[string]*yaml.Node{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := normalizeKey(node.Content[i].Value)
		if _, twice := result[key]; twice {
			return nil, fmt.Errorf("line %d: key %q is there twice", node.Content[i].Line, key)
		}
		result[key] = node.Content[i+1]
	}
	return result, nil
}

func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode && node.Alias != nil {
		return node.Alias
	}
	return node
}

func normalizeKey(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
}

// normalizeCA repairs what happens to PEM on its way through templates: `\n` spelled out, white space around.
func normalizeCA(value string) (string, error) {
	value = strings.TrimSpace(strings.ReplaceAll(value, `\n`, "\n"))
	if value == "" {
		return "", nil
	}
	endpoint := Endpoint{CA: []byte(value)}
	if _, err := endpoint.tlsConfig(); err != nil {
		return "", fmt.Errorf("registrationCaCert is not a PEM certificate")
	}
	return value + "\n", nil
}

func (s *Settings) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}
