package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rancher/rancheros-operator/pkg/cloudconfig"
)

// Files that a registered machine has, below its root.
const (
	// ConfigFile is the cloud-config that the server has sent. The OS applies it on its next boot.
	ConfigFile = "oem/99_rancheros.yaml"
	// InventoryFile is the cloud-config of the machine's inventory, all of its config that the install script does not know. The
	// OS reads it after ConfigFile.
	InventoryFile = "oem/99_rancheros_inventory.yaml"
	// HostnameFile holds the name that the server has given.
	HostnameFile = "etc/hostname"
	// StateFile is ours.
	StateFile = "var/lib/rancheros/register.json"
	// CAFile is the CA by which the server was trusted; there is none when the system's roots sufficed.
	CAFile = "var/lib/rancheros/ca.pem"
)

// stateVersion changes when a State of old cannot be read any more.
const stateVersion = 1

// State is what the client remembers of a registration. It holds no secret, but tells where one can be obtained: root only.
type State struct {
	Version int `json:"version"`
	// Identity is the endorsement hash of the TPM that registered. On a disk that was moved or cloned it is another machine's.
	Identity string `json:"identity"`
	Hostname string `json:"hostname,omitempty"`
	// Server is the scheme and host that answered.
	Server       string    `json:"server"`
	RegisteredAt time.Time `json:"registeredAt"`
	JoinedAt     time.Time `json:"joinedAt,omitzero"`
}

// ErrNoState means that this machine has not registered, or that its state cannot be used.
var ErrNoState = errors.New("no registration state")

// Store is the machine's disk, at a root folder.
type Store struct {
	Root string
}

// SaveAnswer writes the cloud-config and the host name, and returns the cloud-config's path. Each file is replaced as a whole: a machine that
// loses power keeps the old one or has the new one. The error is a *Failure.
func (s Store) SaveAnswer(answer *Answer) (string, error) {
	path := filepath.Join(s.Root, ConfigFile)
	data, err := encodeCloudConfig(answer.Config)
	if err == nil {
		err = replaceFile(path, data, 0o600)
	}
	if err == nil && answer.Hostname != "" {
		err = replaceFile(filepath.Join(s.Root, HostnameFile), []byte(answer.Hostname+"\n"), 0o644)
	}
	if err != nil {
		return "", diskFailure(err)
	}
	return path, nil
}

// SaveInventory writes the cloud-config of the machine's inventory, and returns its path; empty when there is none, and the
// one of another time is gone. The error is a *Failure.
func (s Store) SaveInventory(config map[string]any) (string, error) {
	path := filepath.Join(s.Root, InventoryFile)
	if len(config) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", diskFailure(err)
		}
		return "", nil
	}
	data, err := encodeCloudConfig(config)
	if err == nil {
		err = replaceFile(path, data, 0o600)
	}
	if err != nil {
		return "", diskFailure(err)
	}
	return path, nil
}

// SaveState writes the state file. The error is a *Failure.
func (s Store) SaveState(state State) error {
	state.Version = stateVersion
	data, err := json.MarshalIndent(state, "", "  ")
	if err == nil {
		err = replaceFile(filepath.Join(s.Root, StateFile), append(data, '\n'), 0o600)
	}
	if err != nil {
		return diskFailure(err)
	}
	return nil
}

// LoadState reads the state file. What is missing, damaged or of another version is ErrNoState: registering anew repairs it.
func (s Store) LoadState() (State, error) {
	data, err := os.ReadFile(filepath.Join(s.Root, StateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, ErrNoState
	}
	if err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrNoState, err)
	}
	var state State
	if err := json.Unmarshal(data, &state); err != nil {
		return State{}, fmt.Errorf("%w: %s is damaged", ErrNoState, StateFile)
	}
	if state.Version != stateVersion {
		return State{}, fmt.Errorf("%w: %s has version %d", ErrNoState, StateFile, state.Version)
	}
	return state, nil
}

// SaveCA remembers by which CA the server was trusted, or that none was needed. The error is a *Failure.
func (s Store) SaveCA(ca []byte) error {
	path := filepath.Join(s.Root, CAFile)
	var err error
	if len(ca) > 0 {
		err = replaceFile(path, ca, 0o644)
	} else if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return diskFailure(err)
	}
	return nil
}

// LoadCA is the CA of the last registration; nil when none was needed. The error is a *Failure.
func (s Store) LoadCA() ([]byte, error) {
	ca, err := os.ReadFile(filepath.Join(s.Root, CAFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Failure{Cause: CauseDisk, Message: fmt.Sprintf("the server's CA cannot be read: %v", err), Hint: "run as root", Err: err}
	}
	return ca, nil
}

// encodeCloudConfig is the server's answer as the file that the OS reads.
func encodeCloudConfig(config map[string]any) ([]byte, error) {
	data, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encoding cloud-config: %w", err)
	}
	encoded, err := cloudconfig.Upgrade(data)
	if err != nil {
		return nil, err
	}
	if encoded == nil {
		return []byte("#cloud-config\n{}\n"), nil
	}
	return encoded, nil
}

// replaceFile writes beside the target, syncs, and renames; then syncs the folder, or the rename itself could be lost.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(folder, ".rancheros-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	parent, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

func diskFailure(err error) *Failure {
	return &Failure{Cause: CauseDisk, Message: fmt.Sprintf("the configuration cannot be written: %v", err),
		Hint: "check that the folder is on a writable disk with space left, and that this runs as root", Err: err}
}
