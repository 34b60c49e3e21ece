package netboot

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// maxMachines is how many are remembered: those seen last.
const maxMachines = 1000

// Stage is how far a machine has come.
type Stage string

// The stages, in the order in which most machines go through them.
const (
	StageIgnored Stage = "Ignored"
	StageOffered Stage = "Offered"
	StageTFTP    Stage = "TFTP"
	StageScript  Stage = "Script"
	StageKernel  Stage = "Kernel"
	StageInitrd  Stage = "Initrd"
	StageISO     Stage = "ISO"
	// StageSent: the machine has all that it needs to register. What becomes of it, its MachineInventory tells.
	StageSent   Stage = "Sent"
	StageFailed Stage = "Failed"
)

// Machine is what is known of one.
type Machine struct {
	MAC          string    `json:"mac"`
	UUID         string    `json:"uuid,omitempty"`
	Address      string    `json:"address,omitempty"`
	Firmware     Firmware  `json:"firmware,omitempty"`
	Registration string    `json:"registration,omitempty"`
	Stage        Stage     `json:"stage"`
	Detail       string    `json:"detail,omitempty"`
	Since        time.Time `json:"since"`
	Seen         time.Time `json:"seen"`
	// Sent counts bytes of media since the machine was offered something last, Boots how often it got all that it needs.
	Sent  int64 `json:"sentBytes"`
	Boots int   `json:"boots"`
	// Failure is why it failed last, until it is sent all.
	Failure string `json:"failure,omitempty"`
}

// machines remembers those seen last.
type machines struct {
	mutex sync.Mutex
	byMAC map[MAC]*Machine
	now   func() time.Time
	log   logrus.FieldLogger
	// lines bounds what is logged, and leftOut counts what was not: anybody on the segment can make up machines.
	lines   *rate.Limiter
	leftOut int
}

// linesPerSecond is far above what a rack that is switched on makes.
const linesPerSecond = 50

func newMachines(log logrus.FieldLogger, now func() time.Time) *machines {
	return &machines{byMAC: map[MAC]*Machine{}, now: now, log: log, lines: rate.NewLimiter(linesPerSecond, 20*linesPerSecond)}
}

// sighting is what a packet or request tells of a machine; what is empty is not known.
type sighting struct {
	mac          MAC
	uuid         UUID
	address      string
	firmware     Firmware
	registration string
	stage        Stage
	detail       string
}

// quiet is how long the same news of a machine are no news.
const quiet = time.Minute

// saw notes how far a machine has come, and logs a line when that is news.
func (m *machines) saw(s sighting) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	now := m.now()
	// Some of it are words of the machine or of the operator.
	s.detail = protocol.CleanText(s.detail)
	machine, known := m.byMAC[s.mac]
	if !known {
		m.makeRoom()
		machine = &Machine{MAC: s.mac.String()}
		m.byMAC[s.mac] = machine
	}
	news := machine.Stage != s.stage || machine.Detail != s.detail || now.Sub(machine.Since) > quiet
	machine.Seen = now
	setUnlessEmpty(&machine.Address, s.address)
	setUnlessEmpty(&machine.Registration, s.registration)
	setUnlessEmpty((*string)(&machine.Firmware), string(s.firmware))
	if !s.uuid.none() {
		machine.UUID = s.uuid.String()
	}
	switch s.stage {
	case StageOffered:
		machine.Sent = 0
	case StageFailed, StageIgnored:
		machine.Failure = s.detail
	case StageSent:
		machine.Boots++
		machine.Failure = ""
	}
	if !news {
		return
	}
	machine.Stage, machine.Detail, machine.Since = s.stage, s.detail, now
	m.tell(machine)
}

func (m *machines) tell(machine *Machine) {
	if !m.lines.AllowN(m.now(), 1) {
		m.leftOut++
		return
	}
	if m.leftOut > 0 {
		m.log.Warnf("%d lines about machines were left out: there are too many at once", m.leftOut)
		m.leftOut = 0
	}
	log := m.log.WithFields(logrus.Fields{"machine": machine.MAC, "stage": machine.Stage, "firmware": machine.Firmware})
	if machine.Registration != "" {
		log = log.WithField("registration", machine.Registration)
	}
	if machine.Address != "" {
		log = log.WithField("address", machine.Address)
	}
	if machine.UUID != "" {
		log = log.WithField("uuid", machine.UUID)
	}
	if machine.Stage == StageFailed {
		log.Warn(machine.Detail)
		return
	}
	log.Info(machine.Detail)
}

func setUnlessEmpty(field *string, value string) {
	if value != "" {
		*field = value
	}
}

// makeRoom forgets the machine that was not seen for the longest time.
func (m *machines) makeRoom() {
	if len(m.byMAC) < maxMachines {
		return
	}
	var oldest MAC
	var at time.Time
	for mac, machine := range m.byMAC {
		if at.IsZero() || machine.Seen.Before(at) {
			oldest, at = mac, machine.Seen
		}
	}
	delete(m.byMAC, oldest)
}

// sent counts bytes on their way to the machine.
func (m *machines) sent(mac MAC, bytes int64) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if machine, known := m.byMAC[mac]; known {
		machine.Sent += bytes
		machine.Seen = m.now()
	}
}

// failure is why the machine failed last.
func (m *machines) failure(mac MAC) string {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if machine, known := m.byMAC[mac]; known {
		return machine.Failure
	}
	return ""
}

// all are copies, those seen last first.
func (m *machines) all() []Machine {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	list := make([]Machine, 0, len(m.byMAC))
	for _, machine := range m.byMAC {
		list = append(list, *machine)
	}
	slices.SortFunc(list, func(a, b Machine) int {
		if order := b.Seen.Compare(a.Seen); order != 0 {
			return order
		}
		return strings.Compare(a.MAC, b.MAC)
	})
	return list
}
