// Package machine is a pretend machine, for end-to-end tests and the demo: a folder as its disk, SMBIOS tables as firmware would make
// them, and a software TPM.
//
//   - [Machine] runs the real rancheros-register binary in that folder and returns what it printed and its exit code.
//   - [OldClient] speaks as ros-installer and rancherd do, byte for byte (wire.md), and shares no code with our protocol package: it is the
//     witness that old clients still work.
//   - [Server] is the other side for tests of the client alone: it says what a test tells it to say, sense or nonsense.
//   - [MakerCA] is a TPM maker that certifies endorsement keys; [NewWeakKey] is a key that one should not have made.
package machine
