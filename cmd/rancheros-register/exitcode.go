package main

import (
	"errors"

	"github.com/rancher/rancheros-operator/pkg/install"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Exit codes. They are part of the interface: scripts and unit files depend on them.
const (
	exitOK                  = 0
	exitUnknown             = 1
	exitConfig              = 2
	exitTPMMissing          = 3
	exitTPMPermission       = 4
	exitTPMBusy             = 5
	exitTPMOld              = 6
	exitTPMLocked           = 7
	exitCertificateRequired = 8
	exitTPMUnusable         = 9
	exitUnreachable         = 10
	exitUntrusted           = 11
	exitClock               = 12
	exitRefused             = 13
	exitNotYet              = 14
	exitBadAnswer           = 15
	exitDisk                = 16
	exitInstall             = 17
	exitDevice              = 18
	exitInstaller           = 19
	exitInstalled           = 20
)

const exitCodeHelp = `Exit codes:
    0  done, or there is nothing to do
    1  a defect of this program, or interrupted
    2  a flag, a file or the kernel command line is wrong
    3  no TPM                        4  no permission to use the TPM
    5  the TPM is busy               6  a TPM 1.2
    7  the TPM has locked itself     8  the registration demands an endorsement certificate, which this TPM lacks
    9  the TPM has a password set, or refuses to work
   10  the server, or the proxy before it, cannot be reached
   11  the server's certificate is not trusted
   12  this machine's clock is wrong 13  the server refuses this machine
   14  not yet: pending approval, not assigned, or the server is busy (with --once)
   15  the server's answer makes no sense
   16  the configuration cannot be written
   17  Rancher's install script failed
   18  the disk to install to is not named, is missing, or must not be erased
   19  the OS's installer is missing or failed
   20  the disk holds an installation already`

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	var failure *client.Failure
	if !errors.As(err, &failure) {
		failure = client.Explain(err, "the server")
	}
	switch failure.Cause {
	case client.CauseConfig:
		return exitConfig
	case client.CauseTPM:
		return tpmExitCode(failure)
	case client.CauseUnreachable:
		return exitUnreachable
	case client.CauseUntrusted:
		return exitUntrusted
	case client.CauseClock:
		return exitClock
	case client.CauseRefused:
		var refusal *protocol.Error
		if errors.As(failure, &refusal) && refusal.Code == protocol.CodeCertificateRequired {
			return exitCertificateRequired
		}
		return exitRefused
	case client.CauseNotYet:
		return exitNotYet
	case client.CauseBadAnswer:
		return exitBadAnswer
	case client.CauseDisk:
		return exitDisk
	case client.CauseInstall:
		return installExitCode(failure)
	default:
		return exitUnknown
	}
}

func installExitCode(err error) int {
	var refusal *install.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Reason == install.Installed:
		return exitInstalled
	case errors.As(err, &refusal) && refusal.Reason == install.NoInstaller, errors.Is(err, errInstaller):
		return exitInstaller
	case refusal != nil:
		return exitDevice
	default:
		return exitInstall
	}
}

func tpmExitCode(err error) int {
	var tpmError *tpm.Error
	if !errors.As(err, &tpmError) {
		return exitTPMUnusable
	}
	switch tpmError.Cause {
	case tpm.Missing:
		return exitTPMMissing
	case tpm.Permission:
		return exitTPMPermission
	case tpm.Busy:
		return exitTPMBusy
	case tpm.OldVersion:
		return exitTPMOld
	case tpm.LockedOut:
		return exitTPMLocked
	default:
		return exitTPMUnusable
	}
}

func usage(message string) error {
	return &client.Failure{Cause: client.CauseConfig, Message: message, Hint: "see rancheros-register --help"}
}
