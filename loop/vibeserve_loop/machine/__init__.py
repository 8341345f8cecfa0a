"""What work runs on: leased devices, processes that leave nothing behind, other machines."""
