"""Agents in processes of their own, programs or classes of the user's: started, spoken to, and ended for certain."""
