//! See, tell, earn: the agent and wallet of one vehicle
